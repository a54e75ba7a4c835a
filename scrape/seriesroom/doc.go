// Package seriesroom divides the room for series in memory among those who own them.
//
//   - [Room] has the limits, in series and in bytes. It counts what the storage holds
//     ([Room.Storage]) and knows whose each series is.
//   - [Account] is what one target has in the storage. The accounts of an owner share its room.
//
// The limit is divided equally among the owners. An owner that needs less than its part
// leaves the rest to the others; one that is alone may use all of it. What an owner has
// above its part is borrowed.
//
// An owner below its part gets room before the others have given theirs back
// ([Account.Allowed]). Until they have, up to a quarter more than the limit is stored.
// A series that has ended takes memory until the storage removes it, and
// counts as its owner's until then.
//
// The package starts no goroutines. Everything may be used from many.
package seriesroom
