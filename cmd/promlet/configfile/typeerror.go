package configfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// plainTypeError returns the error of a value of the wrong type in the words of YAML. Other errors, and nil, stay.
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
	return fmt.Errorf("%s: %s instead of %s%s", strings.TrimPrefix(of.Field, "Config."), found, wanted, hint)
}
