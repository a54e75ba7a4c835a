package values

import (
	"math"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Decimal prints a quantity for people: 137.95 for 137945m, and three digits of what is smaller than 1.
func Decimal(q resource.Quantity) string {
	v := q.AsApproximateFloat64()
	if math.Abs(v) < 1 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return strings.TrimRight(strings.TrimRight(strconv.FormatFloat(v, 'f', 2, 64), "0"), ".")
}

// DecimalText is Decimal of a quantity's text. Other texts are returned as they are.
func DecimalText(text string) string {
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return text
	}
	return Decimal(q)
}
