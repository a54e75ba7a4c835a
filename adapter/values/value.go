package values

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"gopkg.in/inf.v0"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Value is a metric's value.
type Value struct {
	Quantity resource.Quantity
	Last     time.Time     // of the last sample used
	Window   time.Duration // 0 for an instant value
	Labels   labels.Labels // of the query's result
	Err      error         // why there is no value although there is a sample
}

// WindowSeconds is the window as the APIs have it, nil for an instant value.
func (v *Value) WindowSeconds() *int64 {
	if v.Window == 0 {
		return nil
	}
	seconds := max(1, int64(v.Window.Round(time.Second)/time.Second))
	return &seconds
}

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
