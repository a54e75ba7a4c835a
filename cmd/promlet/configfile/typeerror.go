package configfile

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// plainTypeError rewrites the error of a value with the wrong type in YAML's terms. It returns other errors, and nil,
// unchanged.
func plainTypeError(err error) error {
	of, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err
	}
	found, _, _ := strings.Cut(of.Value, " ")
	wanted, hint := of.Type.String(), ""
	switch of.Type.Kind() {
	case reflect.String:
		wanted = "string"
		if found == "bool" || found == "number" {
			hint = "; write it in quotes"
		}
	case reflect.Struct, reflect.Map:
		wanted = "object"
	case reflect.Slice:
		wanted = "list"
	}
	if found == "array" {
		found = "list"
	}
	return fmt.Errorf("%s: %s instead of %s%s", cmp.Or(strings.TrimPrefix(of.Field, "Config."), "the document"), found, wanted, hint)
}
