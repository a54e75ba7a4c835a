package values

import (
	"math"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Decimal formats a quantity for people: with two decimals at most (137.95 for 137945m), or with three digits if it is
// smaller than 1.
func Decimal(q resource.Quantity) string {
	v := q.AsApproximateFloat64()
	if math.Abs(v) < 1 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return strings.TrimRight(strings.TrimRight(strconv.FormatFloat(v, 'f', 2, 64), "0"), ".")
}

// DecimalText formats the text of a quantity as Decimal does. It returns other texts unchanged.
func DecimalText(text string) string {
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return text
	}
	return Decimal(q)
}
