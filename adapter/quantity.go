package adapter

import (
	"fmt"
	"math"
	"strconv"

	"gopkg.in/inf.v0"
	"k8s.io/apimachinery/pkg/api/resource"
)

// quantity turns a value into a Quantity: to the nearest milli-unit as the
// metrics APIs do; finer, down to nano-units, for a value that milli-units
// would make 0; and as a whole number when it is too large for milli-units in
// 64 bits. NaN and infinities are no quantity: an error says which it was.
func quantity(v float64) (resource.Quantity, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return resource.Quantity{}, fmt.Errorf("the value is %s", strconv.FormatFloat(v, 'g', -1, 64))
	}
	// The fraction apart: a large value times 1000 would no longer be exact.
	whole, fraction := math.Modf(v)
	switch {
	case fraction == 0 && math.Abs(whole) < math.MaxInt64:
		return *resource.NewQuantity(int64(whole), resource.DecimalSI), nil
	case fraction == 0:
		return tooLarge(whole)
	}
	milli := int64(whole)*1000 + int64(math.Round(fraction*1000))
	if milli == 0 {
		return *resource.NewScaledQuantity(int64(math.Round(v*1e9)), resource.Nano), nil
	}
	return *resource.NewMilliQuantity(milli, resource.DecimalSI), nil
}

func tooLarge(v float64) (resource.Quantity, error) {
	digits, ok := new(inf.Dec).SetString(strconv.FormatFloat(v, 'f', 0, 64))
	if !ok {
		return resource.Quantity{}, fmt.Errorf("the value %g is no decimal number", v)
	}
	return *resource.NewDecimalQuantity(*digits, resource.DecimalSI), nil
}
