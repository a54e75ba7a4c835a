// Package body fetches what a target exposes: it makes the request, and reads, filters
// and checks the body of the answer.
//
//   - [Fetcher] makes the requests of one job. It has no state per target.
//   - [Answer] is a body, on loan until Release. It knows the bytes that it was sent as,
//     and checks itself for what textparse does not survive.
//   - [Pools] lends buffers, decompressors and filters, and bounds the memory that all
//     scrapes under way take together (package budget). One serves all jobs.
//
// What a target sends is charged to the owner of the scrape before it is kept: the header
// while it is read, the line under way, the body. A target that has not answered yet takes
// nothing but its connection. The bytes of headers are counted by the connections, which
// the Fetcher makes itself; so there is no HTTP/2, which also reads megabytes ahead.
//
// With [names.Decisions] the lines of text bodies that nobody reads are skipped while
// the body is read, before anything is parsed: however many there are, a scrape of them
// takes 96 KiB and 8 bytes a name. [Skipped] says what they were.
//
// The package starts no goroutines and logs nothing. Errors are reasons for people
// (package reason).
package body
