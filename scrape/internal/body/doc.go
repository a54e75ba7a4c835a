// Package body fetches what a target exposes: it makes the request, and reads, filters
// and checks the body of the answer.
//
//   - [Fetcher] makes the requests of one job. It has no state per target.
//   - [Answer] is a body, on loan until Release. It knows the bytes that it was sent as,
//     and checks itself for what textparse does not survive.
//   - [Pools] lends buffers, decompressors and filters, and bounds the memory that
//     large bodies take together. One serves all jobs.
//
// With [names.Decisions] the lines of text bodies that nobody reads are skipped while
// the body is read, before anything is parsed: they cost a look at their bytes and no
// memory. [Skipped] says what they were.
//
// The package starts no goroutines and logs nothing. Errors are reasons for people
// (package reason).
package body
