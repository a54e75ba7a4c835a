// Package reach explains which monitors select a Service or Pod, and why one that should
// be scraped is not.
//
// An [Explainer] has the monitors of which targets were last computed, and the
// objects.Store. Its [Report] on an object lists the monitors that select it, with the
// number of targets of each of their jobs or the first reason why there are none: the
// port, the endpoints, the state of the pods. When no monitor selects it, [Miss] is the
// one that comes closest.
//
// Reasons are found by asking package targets again with one condition lifted after the
// other, so that they cannot disagree with what is scraped. Texts are for people, in one
// line.
//
// All functions are pure; no goroutine runs here.
package reach
