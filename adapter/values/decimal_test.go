package values

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDecimal(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0", "100": "100", "501484m": "501.48", "140015m": "140.01", "-2500m": "-2.5", "123456789012": "123456789012", "62500u": "0.0625", "912345n": "0.000912",
		"12k": "12000", "1Gi": "1073741824", "a=1, b=2": "a=1, b=2", "3 values": "3 values", "": "",
	} {
		require.Equal(t, want, DecimalText(text), text)
	}
}
