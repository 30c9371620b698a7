// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// eventfd is a counter in the kernel by which front end and back end wake each other.
type eventfd struct {
	fd     int
	file   *os.File
	raw    syscall.RawConn
	buffer [][]byte
	// one is what is written, look what wait tries, and taken what came of that: kept here so that
	// nothing is allocated for a kick.
	one   [8]byte
	look  func(fd uintptr) bool
	taken error
	// plain says that the kernel cannot be told with a read that it shall not wait.
	plain atomic.Bool
}

// newEventfd takes over a descriptor of a front end. One that is not an eventfd is closed and refused.
func newEventfd(fd int) (*eventfd, error) {
	link, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err == nil && link != "anon_inode:[eventfd]" {
		err = fmt.Errorf("the file descriptor is %q instead of an eventfd", link)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		closeFD(fd)
		return nil, fmt.Errorf("take over an eventfd: %w", err)
	}
	e := &eventfd{fd: fd, file: os.NewFile(uintptr(fd), "eventfd"), buffer: [][]byte{make([]byte, 8)}, one: [8]byte{1}}
	e.look = func(fd uintptr) bool {
		e.taken = e.take(int(fd))
		return !errors.Is(e.taken, unix.EAGAIN)
	}
	if e.raw, err = e.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("take over an eventfd: %w", err), e.close())
	}
	return e, nil
}

// wait returns when the counter is above zero, and sets it to zero. It returns an error once the
// eventfd has been closed. One goroutine at a time may wait.
func (e *eventfd) wait() error {
	if err := e.raw.Read(e.look); err != nil {
		return fmt.Errorf("wait for a kick: %w", err)
	}
	return e.taken
}

// take reads without waiting, even if the front end has made the eventfd a waiting one behind our back.
func (e *eventfd) take(fd int) error {
	if !e.plain.Load() {
		_, err := unix.Preadv2(fd, e.buffer, -1, unix.RWF_NOWAIT)
		if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
			return err //nolint:wrapcheck,nolintlint // compared with EAGAIN by the caller
		}
		e.plain.Store(true)
	}
	_, err := unix.Read(fd, e.buffer[0])
	return err //nolint:wrapcheck,nolintlint // as above
}

// signal adds one to the counter. A counter that is full wakes its reader anyway.
func (e *eventfd) signal() {
	_, _ = unix.Write(e.fd, e.one[:])
}

// empty sets the counter to zero and says whether it was above. Afterwards signal does not wait.
func (e *eventfd) empty() bool {
	emptied := e.take(e.fd) == nil
	return unix.SetNonblock(e.fd, true) == nil && emptied
}

// close ends waits. Nobody signals any more.
func (e *eventfd) close() error {
	if e == nil {
		return nil
	}
	if err := e.file.Close(); err != nil {
		return fmt.Errorf("close an eventfd: %w", err)
	}
	return nil
}
