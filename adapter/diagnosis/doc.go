// Package diagnosis finds the part of a PromQL expression that is the reason why it has no value.
//
// [OfEmpty] explains an expression without results, and [OfNumber] one whose result is NaN or infinite. They evaluate
// parts of the expression, from the outside to the inside, until one part is the reason: a selector without series, sides
// without common labels, a comparison that nothing satisfies, a zero divided by zero. The [Finding] names the kind of the
// reason and the part. It has no text for people, as the caller knows what may be shown to whom.
//
// At most maxQueries parts are evaluated. The package starts no goroutines.
package diagnosis
