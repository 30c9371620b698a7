// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"errors"
	"syscall"

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

// writeError gives the failure of a transaction a class.
func (s *Store) writeError(err error) error {
	switch {
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return errdefs.New(errdefs.Unavailable, "store %s is closed", s.path)
	case errors.Is(err, berrors.ErrMaxSizeReached), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		// The pages of the new state did not fit. The page that would make them count lies at the
		// head of the file and comes after them, so the old state stands.
		return errdefs.Wrap(errdefs.ResourceExhausted, err, "store %s is full, nothing was written: make room", s.path)
	}
	// The write that makes a transaction count may be the one that failed.
	return errdefs.Wrap(errdefs.OutcomeUnknown, err, "write store %s", s.path)
}
