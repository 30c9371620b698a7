// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"errors"
	"syscall"

	bbolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// readError gives the failure of a read a class.
func (s *Store) readError(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return errdefs.New(errdefs.Unavailable, "store %s is closed", s.path)
	}
	return errdefs.Wrap(errdefs.Internal, err, "read store %s", s.path)
}

// writeError gives the failure of the transaction of that id a class.
func (s *Store) writeError(id int, err error) error {
	switch {
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return errdefs.New(errdefs.Unavailable, "store %s is closed", s.path)
	case errors.Is(err, berrors.ErrMaxSizeReached), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		// The page that makes a new state count is written after all others. It may be there, and its
		// sync be what failed.
		if s.counts(id) {
			break
		}
		return errdefs.Wrap(errdefs.ResourceExhausted, err, "store %s is full, nothing was written: make room", s.path)
	}
	// The write that makes the transaction count may be the one that failed.
	return errdefs.Wrap(errdefs.OutcomeUnknown, err, "write store %s", s.path)
}

// counts says whether the file shows the state of the transaction of that id, or cannot be read.
func (s *Store) counts(id int) bool {
	newest := id
	err := s.db.View(func(tx *bbolt.Tx) error {
		newest = tx.ID()
		return nil
	})
	return err != nil || newest >= id
}
