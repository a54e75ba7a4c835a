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
	v := q.AsFloat64Slow() // the approximation of 140015m is above 140.015, which pages round down in the browser
	if math.Abs(v) < 1 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return strings.TrimRight(strings.TrimRight(strconv.FormatFloat(v, 'f', 2, 64), "0"), ".")
}

// Cores formats thousandths of a core as kubectl top does: 250m.
func Cores(milli int64) string { return strconv.FormatInt(milli, 10) + "m" }

// Bytes formats bytes of memory as kubectl top does: 123Mi. Less than a mebibyte is in kibibytes.
func Bytes(n int64) string {
	if n >= 1<<20 || n <= -1<<20 || n == 0 {
		return strconv.FormatInt(n>>20, 10) + "Mi"
	}
	return strconv.FormatInt((n+1<<10-1)>>10, 10) + "Ki"
}

// DecimalText formats the text of a quantity as Decimal does. It returns other texts unchanged.
func DecimalText(text string) string {
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return text
	}
	return Decimal(q)
}
