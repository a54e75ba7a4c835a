// Package seriesroom divides the room for series in memory among those who own them.
//
//   - [Room] has the limits, in series and in bytes. It counts what the storage holds
//     ([Room.Storage]) and knows whose each series is.
//   - [Account] is what one target has in the storage. The accounts of an owner share its room.
//
// Each owner has a share. Shares are equal, except that what an owner does not want is
// divided among the others: where all want more than there is, the limit is cut into equal
// parts; where one alone writes, it may have everything.
//
// An owner below its share always finds room, while one above it gives back what it has
// borrowed ([Account.Allowed]). Memory changes hands in this order, so it takes more than
// the limit for a while, never more than ceilingPart above it. A series that has ended takes
// memory until the storage removes it, and counts as its owner's until then.
//
// The package starts no goroutines. Everything may be used from many.
package seriesroom
