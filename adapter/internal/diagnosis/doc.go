// Package diagnosis finds the part of a PromQL expression that explains why the expression has no value.
//
// [OfEmpty] explains an expression without results. [OfNumber] explains a result that is NaN or infinite. Both evaluate
// parts of the expression, from the outermost to the innermost, until they find the reason: for example a selector without
// series, two sides without common labels, a comparison that no result satisfies, or a division of zero by zero. The
// [Finding] has the kind of the reason and the part. It has no text for users, because only the caller knows what a user
// may see.
//
// A search evaluates at most 16 parts. The package starts no goroutines.
package diagnosis
