// SPDX-License-Identifier: Apache-2.0

package bdev

import (
	"errors"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Errors that requests end with, for callers which must tell them apart. Others are errors of the
// operating system or of a remote device, wrapped.
var (
	// ErrCompare: the range does not equal the data of an OpCompare.
	ErrCompare = errors.New("the blocks differ from the data compared with")
	// ErrRange: the range does not lie within the device, or Data does not have the range's length.
	ErrRange = errors.New("the range is not within the device")
	// ErrReadOnly: the device, or the descriptor, is for reading only.
	ErrReadOnly = errors.New("the device is open for reading only")
	// ErrOp: the device knows no such operation.
	ErrOp = errors.New("the device does not have this operation")
	// ErrHeld: limits might hold up a request whose Data is brief.
	ErrHeld = errors.New("the device has limits, which might hold the request up for longer than its data lasts")
	// ErrRemoved: the device is going away.
	ErrRemoved = errors.New("the device has been removed")
)

// Errors of this package about names, claims and options carry the errno which SPDK answers with:
// errors.As with a *syscall.Errno finds it.

func errNotFound(name string) error {
	return errdefs.Wrap(errdefs.NotFound, syscall.ENODEV, "there is no bdev %q", name)
}

func errExists(name, taken string) error {
	return errdefs.Wrap(errdefs.AlreadyExists, syscall.EEXIST,
		"bdev %q cannot be registered: %q is the name, alias or uuid of another bdev", name, taken)
}

func errClaimed(name, by string) error {
	return errdefs.Wrap(errdefs.FailedPrecondition, syscall.EPERM, "bdev %q is claimed by %s", name, by).
		WithPrecondition(errdefs.Precondition{
			Type: "IN_USE", Subject: by, Description: "remove what claims the bdev, or choose another bdev",
		})
}

func errInvalid(format string, args ...any) error {
	return errdefs.Wrap(errdefs.InvalidArgument, syscall.EINVAL, format, args...)
}
