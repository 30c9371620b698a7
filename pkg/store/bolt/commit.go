// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"context"
	"runtime"
	"strconv"

	bbolt "go.etcd.io/bbolt"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/internal/layout"
)

// maxGroup bounds the commits that share one transaction, so that the first of them does not wait
// for ever more that come.
const maxGroup = 1024

// request is one commit on its way. Its results are set before done is closed.
type request struct {
	writes    []store.Write
	fence     uint64 // 0: none
	revisions []uint64
	err       error
	done      chan struct{}
}

// Commit is that of store.Store.
func (s *Store) Commit(ctx context.Context, writes []store.Write) ([]uint64, error) {
	return s.commit(ctx, 0, writes)
}

// commit queues the writes. Whoever gets the turn writes all that is queued then in one transaction,
// so that while one group is being synced the next one gathers.
func (s *Store) commit(ctx context.Context, fence uint64, writes []store.Write) ([]uint64, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	if err := layout.Check(writes); err != nil {
		return nil, err
	}
	r := &request{writes: writes, fence: fence, done: make(chan struct{})}
	s.mu.Lock()
	s.queue = append(s.queue, r)
	s.mu.Unlock()
	for {
		select {
		case <-r.done:
			return r.revisions, r.err
		case s.turn <- struct{}{}:
			s.writeGroup()
			<-s.turn
		case <-ctx.Done():
			if s.withdraw(r) {
				return nil, ended(ctx)
			}
			<-r.done // it is being written, which ends soon
			return r.revisions, r.err
		}
	}
}

// withdraw takes a request out of the queue. It returns false when it is being written already.
func (s *Store) withdraw(r *request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.queue {
		if other == r {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			return true
		}
	}
	return false
}

// maxYields bounds how often a writer lets others run before it writes.
const maxYields = 64

// gather lets those join who are about to: the callers of the last group, which was answered a moment ago,
// are ready to run and come with their next commits. Without this the first of them would write alone, and
// all others wait for its sync. It waits for nobody who is not ready to run.
func (s *Store) gather() {
	queued := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.queue)
	}
	for before, yields := -1, 0; yields < maxYields; yields++ {
		now := queued()
		if now == before {
			return
		}
		before = now
		runtime.Gosched()
	}
}

// writeGroup writes what is queued. The caller holds the turn.
func (s *Store) writeGroup() {
	s.gather()
	s.mu.Lock()
	n := min(len(s.queue), maxGroup)
	group := append([]*request(nil), s.queue[:n]...)
	s.queue = append(s.queue[:0], s.queue[n:]...)
	s.mu.Unlock()
	if n == 0 {
		return
	}
	var id int
	err := s.db.Update(func(tx *bbolt.Tx) error {
		id = tx.ID()
		return applyGroup(tx, group)
	})
	if err != nil {
		err = s.writeError(id, err)
		for _, r := range group {
			if r.err == nil {
				r.revisions, r.err = nil, err
			}
		}
	}
	for _, r := range group {
		close(r.done)
	}
}

// applyGroup applies each request that holds its conditions; the others get their error. It fails
// only when the whole transaction must.
func applyGroup(tx *bbolt.Tx, group []*request) error {
	for _, r := range group {
		if r.err = check(tx, r); r.err != nil {
			continue
		}
		var err error
		if r.revisions, err = apply(tx, r.writes); err != nil {
			return err
		}
	}
	return nil
}

// check looks at fence and bases, and changes nothing.
func check(tx *bbolt.Tx, r *request) error {
	if r.fence != 0 {
		l := readLease(tx)
		if l.token != r.fence || l.holder == "" {
			return layout.Fenced(r.fence, strconv.FormatUint(l.token, 10), l.holder)
		}
	}
	docs := tx.Bucket([]byte(layout.Documents))
	for _, w := range r.writes {
		var have uint64
		if value := docs.Get([]byte(w.Name)); value != nil {
			var err error
			if have, _, err = layout.Decode(value); err != nil {
				return errdefs.Wrap(errdefs.Internal, err, "document %q in the store", w.Name)
			}
		}
		if have != w.Base {
			return layout.Conflict(w.Name, w.Base, have)
		}
	}
	return nil
}

func apply(tx *bbolt.Tx, writes []store.Write) ([]uint64, error) {
	meta, docs, sealed := tx.Bucket([]byte(layout.Meta)), tx.Bucket([]byte(layout.Documents)), tx.Bucket([]byte(layout.Sealed))
	revision, err := number(meta, layout.Revision)
	if err != nil {
		return nil, err
	}
	revisions := make([]uint64, 0, len(writes))
	for _, w := range writes {
		revision++
		revisions = append(revisions, revision)
		name := []byte(w.Name)
		if w.Delete {
			err = docs.Delete(name)
		} else {
			err = docs.Put(name, layout.Encode(revision, w.Body))
		}
		if err != nil {
			return nil, err
		}
		if w.Delete || w.Sealed == nil {
			err = sealed.Delete(name)
		} else {
			err = sealed.Put(name, w.Sealed)
		}
		if err != nil {
			return nil, err
		}
	}
	return revisions, put(meta, layout.Revision, strconv.FormatUint(revision, 10))
}
