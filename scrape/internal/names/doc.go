// Package names knows the metric names that the targets of a job expose, and
// decides which of their lines are worth parsing.
//
//   - [Table] holds the names of one job: how many series each has in all targets,
//     its metadata, and whether anybody reads it. The job's loops share it. A name
//     has a number, which is its index in everything that is counted by name.
//   - [Decisions] is what the table says about each line, by the name that the line
//     begins with. It is replaced as a whole and never changes, so a loop reads it
//     without a lock.
//   - [Demand] says which names somebody reads, and remembers the answers.
//   - [Families] holds the metadata of one target's metric families.
//
// A loop takes the table's Decisions before a scrape and notes in [Findings] what it
// meets; [Table.Learn] merges these and publishes new Decisions. Changes of demand
// come in through [Table.SetDemand].
//
// The package starts no goroutines. Table, Demand and Families may be used from many;
// Findings belong to one scrape.
package names
