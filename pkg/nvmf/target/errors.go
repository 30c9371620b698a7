// SPDX-License-Identifier: Apache-2.0

package target

import (
	"errors"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Errors that callers may need to tell apart beyond their class. All errors of this package also
// carry a class of package errdefs.
var (
	// ErrClosed: the target has been closed.
	ErrClosed = errors.New("the target is closed")
	// ErrNoTransport: the TCP transport has not been created.
	ErrNoTransport = errors.New("the TCP transport has not been created")
	// ErrNoSubsystem: there is no subsystem of that name.
	ErrNoSubsystem = errors.New("no such subsystem")
	// ErrDeleting: the subsystem is being deleted.
	ErrDeleting = errors.New("the subsystem is being deleted")
	// ErrNoHost: the host is not in the subsystem's list.
	ErrNoHost = errors.New("no such host")
	// ErrNoNamespace: the subsystem has no namespace of that identifier.
	ErrNoNamespace = errors.New("no such namespace")
	// ErrNoListener: the subsystem does not listen on that address.
	ErrNoListener = errors.New("no such listener")
	// ErrWriteCache: hosts were told that there is no write cache, and the new namespace has one.
	ErrWriteCache = errors.New("hosts are connected and were told that there is no write cache")
)

func noSubsystem(nqn string) error {
	return errdefs.Wrap(errdefs.NotFound, ErrNoSubsystem, "subsystem %q", nqn)
}
