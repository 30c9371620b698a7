// SPDX-License-Identifier: Apache-2.0

// Package store keeps documents: what the layer above calls records, as opaque JSON with a name and
// a revision, and sealed secrets apart from it. Subpackages redis and bolt implement it, storetest
// holds what both must pass.
//
// # Stored schema, format 1
//
// Both stores hold the same four maps from text to text. In Redis each is a hash; the braces keep an
// instance in one slot of a cluster. In a bbolt file, which belongs to one instance, each is a bucket.
//
//	Redis key                           bbolt bucket   entry            value
//	opi-bridge:{<instance>}:meta        meta           format           1
//	                                                   written_by       version of the build that wrote the format
//	                                                   revision         highest revision given out
//	                                                   round            of the commits that are carried out; in Redis only
//	                                                   server           run id of the server since whose start the log is whole;
//	                                                                    in Redis only
//	opi-bridge:{<instance>}:documents   documents      <document name>  {"revision":7,"body":<the document's JSON>}
//	opi-bridge:{<instance>}:sealed      sealed         <document name>  sealed secrets; no entry when there are none
//	opi-bridge:{<instance>}:lease       lease          holder           who holds it; empty when released
//	                                                   token            highest fencing token given out
//	                                                   until_ms         end, in ms since 1970 by the server's clock; in Redis
//	                                                                    only: a file's lease ends with the lock on the file
//	                                                   asked_until_ms   how long its holder is told that another has asked for
//	                                                                    it; 0 or absent when none has; in Redis only
//
// Revisions come from one counter per instance, so that a document which is deleted and made again
// never has a revision that it had before. A commit, its conditions and its fence are one
// transaction.
//
// A change of this schema, or of what bodies mean, is a new format: see [Schema].
package store

import (
	"context"
	"time"
)

// Bounds of what a commit may hold; beyond them it is refused as ResourceExhausted, and a name that
// is empty or not UTF-8 as InvalidArgument.
const (
	// MaxNameBytes bounds the name of a document.
	MaxNameBytes = 1024
	// MaxDocumentBytes bounds body and sealed secrets of a document, each.
	MaxDocumentBytes = 16 << 20
	// MaxCommitBytes bounds the sum of all that one commit writes.
	MaxCommitBytes = 64 << 20
)

// Document is one stored record. Slices passed to a store stay the caller's and are not kept; those
// that a store returns are the caller's too.
type Document struct {
	// Name is any text of 1 to MaxNameBytes bytes of UTF-8.
	Name string
	// Revision is the one the document had when it was loaded; Commit does not look at it.
	Revision uint64
	// Body is JSON, readable by people. It comes back byte for byte.
	Body []byte
	// Sealed holds the document's secrets, already sealed; nil when there are none.
	Sealed []byte
}

// Write is one change.
type Write struct {
	// Document is the new content. Only its name counts when Delete is set.
	Document
	// Base is the revision that the change is based on; 0 means that the document must not exist.
	Base uint64
	// Delete removes the document. Base must not be 0 then.
	Delete bool
}

// Store keeps the documents of one instance. All methods are safe for use by several goroutines.
//
// Every error has a class of errdefs. Unavailable, DeadlineExceeded and Canceled mean that nothing
// was done; OutcomeUnknown, which only a Commit gives, that the answer was lost: load to find out. A
// store repeats nothing of which the outcome is unknown. FailedPrecondition means that the stored
// format is newer than this build. Errors name the address or file, and no password.
type Store interface {
	// Load returns all documents as of one moment, in order of their names. A commit of this process
	// that ended as OutcomeUnknown before it was called, and that it does not show, does not happen any
	// more.
	Load(ctx context.Context) ([]Document, error)
	// Commit applies all writes, or none, and returns the new revisions in their order; for a
	// deletion that is the revision at which it happened. When it returns, the writes are as durable
	// as Durability says. A document whose revision is not the base gives Aborted, naming the
	// document; a fence that does not hold any more gives FailedPrecondition. A name must not come
	// twice.
	Commit(ctx context.Context, writes []Write) ([]uint64, error)
	// Durability says what a crash of machine or server may take of acknowledged commits. The answer
	// may change while a server runs.
	Durability(ctx context.Context) (Durability, error)
	// Close ends the use of the store, after the calls that are under way.
	Close() error
}

// Leaser hands out the right to act on an instance, to one holder at a time.
type Leaser interface {
	// Acquire takes the lease for ttl if nobody holds it, or it ran out, or holder holds it already:
	// a process that was restarted under its old name goes on at once, with a new token. So two
	// processes must not share a name. Held by another is FailedPrecondition, naming that holder.
	Acquire(ctx context.Context, holder string, ttl time.Duration) (Lease, error)
	// Renew makes the lease last for its TTL from now on. Gone to another, or released, is
	// FailedPrecondition; one that ran out and that nobody took is renewed. Contested says that another
	// has asked for it lately, within ten times the TTL, and may take it over as soon as it runs out.
	Renew(ctx context.Context, lease Lease) (contested bool, err error)
	// Release gives the lease up. A lease that is gone already is no error.
	Release(ctx context.Context, lease Lease) error
	// WithFence returns a view of the store whose commits are refused (FailedPrecondition) once the
	// lease of that token was taken over or released; a lease that merely ran out does not stop
	// them. Closing the view does nothing.
	WithFence(token uint64) Store
}

// LeasedStore is what both implementations are, and what wrappers wrap.
type LeasedStore interface {
	Store
	Leaser
}

// Lease is the right of one holder to act.
type Lease struct {
	// Holder is the name it was acquired under.
	Holder string
	// Token is the fencing token: greater than that of any earlier lease of the instance.
	Token uint64
	// TTL is how long it lasts after it was acquired or renewed. The holder must count from before
	// that call, by its own clock; the store counts by its own.
	TTL time.Duration
}

// Level says how durable acknowledged commits are.
type Level string

// The levels, best first.
const (
	// LevelSynced: on disk before the answer.
	LevelSynced Level = "synced"
	// LevelSeconds: a crash of the machine may take the last seconds.
	LevelSeconds Level = "seconds"
	// LevelNone: a restart of the server may take everything.
	LevelNone Level = "none"
	// LevelUnknown: the server does not let us ask.
	LevelUnknown Level = "unknown"
)

// Durability says how durable acknowledged commits are.
type Durability struct {
	// OK is true when no acknowledged commit can be lost: when Level is LevelSynced.
	OK bool
	// Level is the class, for programs.
	Level Level
	// Explanation says for people which settings lead to it, and what to change.
	Explanation string
}
