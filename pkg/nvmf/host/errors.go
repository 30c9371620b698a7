// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Refusal is an error whose text SPDK's users know, so it is to be shown as it is. Other errors of
// this package carry a syscall.Errno in their chain, whose own text SPDK shows.
type Refusal struct {
	// Class is the class of the error.
	Class errdefs.Class
	// Errno is SPDK's code, as a positive number.
	Errno syscall.Errno
	// Text is the whole message.
	Text string
}

// Error returns the text.
func (e *Refusal) Error() string { return e.Text }

// Unwrap returns class and errno, so that errors.Is and errors.As find both.
func (e *Refusal) Unwrap() []error { return []error{e.Class, e.Errno} }

func refuse(class errdefs.Class, errno syscall.Errno, format string, args ...any) error {
	return &Refusal{Class: class, Errno: errno, Text: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return errdefs.Wrap(errdefs.InvalidArgument, syscall.EINVAL, format, args...)
}

func noController(name string) error {
	return errdefs.Wrap(errdefs.NotFound, syscall.ENODEV, "there is no NVMe controller %q", name)
}

func noBdev(name string) error {
	return errdefs.Wrap(errdefs.NotFound, syscall.ENODEV, "there is no NVMe bdev %q", name)
}

// unreachable gives what went wrong on the wire the errno with which SPDK answers all of it.
func unreachable(err error, format string, args ...any) error {
	return errdefs.Wrap(errdefs.Unavailable, &wireError{cause: err}, format, args...)
}

// wireError adds EIO to a cause without showing its text twice.
type wireError struct{ cause error }

func (e *wireError) Error() string   { return e.cause.Error() }
func (e *wireError) Unwrap() []error { return []error{syscall.EIO, e.cause} }

// Errors that end connections and requests.
var (
	errClosed    = errors.New("the connection was closed by this end")
	errNoPath    = errors.New("no path to the namespace is available")
	errKeepAlive = errors.New("keep alive was not answered in time")
	errDigest    = errors.New("the data digest is wrong")
	errTimeout   = errors.New("no answer in time")
)
