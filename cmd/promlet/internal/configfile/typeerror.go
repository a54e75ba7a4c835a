package configfile

import (
	"cmp"
	"encoding/json"
	"errors"
	"strings"

	manifestfiles "github.com/promlet/promlet/discovery/manifests"
)

// plainTypeError rewrites the error of a value with the wrong type in YAML's terms. It returns other errors, and nil,
// unchanged.
func plainTypeError(err error) error {
	of, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err
	}
	return manifestfiles.TypeError(cmp.Or(strings.TrimPrefix(of.Field, "Config."), "the document"), of)
}
