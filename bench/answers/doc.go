// Command answers prints what promlet's answers cost: requests per second, how long they
// take, and the server's CPU time and allocations for each; and what the server uses when
// 500 HorizontalPodAutoscalers ask every 15 s.
//
// The server is another process, this program started again, so that asking is in no
// figure of CPU time and allocations: an adapter with the default rules and a TSDB that
// holds ten minutes and more of samples, served over TLS on loopback. It scrapes nothing.
package main
