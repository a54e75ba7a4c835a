package values

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestQuantity(t *testing.T) {
	f := func(v float64, want string) {
		t.Helper()
		q, err := quantity(v)
		require.NoError(t, err)
		got, err := json.Marshal(q)
		require.NoError(t, err)
		require.Equal(t, `"`+want+`"`, string(got), "value %v", v)
		var back resource.Quantity
		require.NoError(t, json.Unmarshal(got, &back), "the printed value must parse")
	}
	f(0, "0")
	f(math.Copysign(0, -1), "0")
	f(501.4839, "501484m")
	f(0.9999999999999999, "1")
	f(2.9999, "3")
	f(2.9994, "2999m")
	f(-1.5, "-1500m")
	f(0.0009, "1m")
	f(0.0004, "400u")
	f(-0.0004, "-400u")
	f(0.0000000123, "12n")
	f(1e-12, "0")
	f(100, "100")
	f(9e15, "9P")
	f(4503599627370497, "4503599627370497")
	f(4503599627370495.5, "4503599627370495500m")
	f(1e19, "10E")
	f(-1e19, "-10E")
}

func TestQuantityRefusesWhatIsNoNumber(t *testing.T) {
	for v, want := range map[float64]string{math.Inf(1): "the value is +Inf", math.Inf(-1): "the value is -Inf"} {
		_, err := quantity(v)
		require.EqualError(t, err, want)
	}
	_, err := quantity(math.NaN())
	require.EqualError(t, err, "the value is NaN")
}
