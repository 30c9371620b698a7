// SPDX-License-Identifier: Apache-2.0

package bdev

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// ModuleAIO is the module name of aio bdevs.
const ModuleAIO = "aio"

// AIOOptions describe an aio bdev.
type AIOOptions struct {
	// Name of the bdev; required.
	Name string
	// UUID of the bdev; nil for a random one.
	UUID uuid.UUID
	// Filename is the regular file or block device.
	Filename string
	// BlockSizeBytes is a power of 2, at least 512. With 0 it is that of the block device; a regular
	// file has none.
	BlockSizeBytes uint32
	// ReadOnly opens the file for reading only.
	ReadOnly bool
	// Fallocate offers unmap.
	Fallocate bool
	// NoWait is for block devices only: their reads are tried without waiting first.
	NoWait bool
}

// AIO is a device on a file or block device. Slow requests run on a bounded number of goroutines of
// its own, so they hold up nobody else; reads that the page cache can answer end at once.
type AIO struct {
	options  AIOOptions
	override bool
	file     *os.File
	fd       int
	block    uint32
	blocks   atomic.Uint64
	// noNowait is set when the file system turns out not to know RWF_NOWAIT.
	noNowait atomic.Bool

	mu sync.Mutex
	// head and tail are the queue of requests that wait for a worker; guarded by mu.
	head, tail *Request
	// running is the number of workers, and at work what each of them does; guarded by mu.
	running int
	atWork  [aioWorkers]*Request
	// worker is work, as a value that starting a goroutine need not allocate.
	worker func()
	// freed tells workers that wait for a range that another has done its request.
	freed   *sync.Cond
	workers sync.WaitGroup
}

// NewAIO opens the file. Errors of the operating system come as they are (errors.As finds the
// errno); bad sizes are InvalidArgument (EINVAL), NoWait for a regular file Unimplemented (ENOTSUP).
func NewAIO(o AIOOptions) (*AIO, error) {
	flags := os.O_RDWR
	if o.ReadOnly {
		flags = os.O_RDONLY
	}
	file, err := os.OpenFile(o.Filename, flags, 0)
	if err != nil {
		return nil, openError(err)
	}
	a := &AIO{options: o, override: o.BlockSizeBytes != 0, file: file, fd: int(file.Fd())}
	a.freed = sync.NewCond(&a.mu)
	a.worker = a.work
	if err := a.measure(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return a, nil
}

// openError gives an error of open its class.
func openError(err error) error {
	class := errdefs.InvalidArgument
	switch {
	case errors.Is(err, os.ErrNotExist):
		class = errdefs.NotFound
	case errors.Is(err, os.ErrPermission):
		class = errdefs.PermissionDenied
	}
	return errdefs.Wrap(class, err, "the file of an aio bdev")
}

// measure finds block size and size, and checks the options against them.
func (a *AIO) measure() error {
	stat, err := a.file.Stat()
	if err != nil {
		return openError(err)
	}
	regular := stat.Mode().IsRegular()
	var detected uint32
	if stat.Mode()&os.ModeDevice != 0 && stat.Mode()&os.ModeCharDevice == 0 {
		n, err := unix.IoctlGetInt(a.fd, unix.BLKSSZGET)
		if err != nil {
			return openError(&os.PathError{Op: "ask for the block size of", Path: a.options.Filename, Err: err})
		}
		detected = uint32(n) //nolint:gosec // 512 to 64 KiB
	} else if a.options.NoWait {
		return errdefs.Wrap(errdefs.Unimplemented, syscall.EOPNOTSUPP,
			"%s is not a block device, so it cannot be used with nowait", a.options.Filename)
	} else if !regular {
		return errInvalid("%s is neither a regular file nor a block device", a.options.Filename)
	}
	block := a.options.BlockSizeBytes
	if block == 0 {
		block = detected
	}
	switch {
	case block == 0:
		return errInvalid("%s is a regular file, which needs a block size", a.options.Filename)
	case block < detected:
		return errInvalid("block size %d is smaller than that of %s, %d", block, a.options.Filename, detected)
	case block < 512 || bits.OnesCount32(block) != 1:
		return errInvalid("block size %d is not a power of 2 of at least 512", block)
	}
	size, err := a.size()
	if err != nil {
		return err
	}
	if size%uint64(block) != 0 {
		return errInvalid("the size of %s, %d bytes, is not a multiple of the block size %d", a.options.Filename, size, block)
	}
	a.block = block
	a.blocks.Store(size / uint64(block))
	return nil
}

// size asks for the size of the file now, in bytes.
func (a *AIO) size() (uint64, error) {
	end, err := unix.Seek(a.fd, 0, unix.SEEK_END)
	if err != nil {
		return 0, openError(&os.PathError{Op: "find the end of", Path: a.options.Filename, Err: err})
	}
	return uint64(end), nil //nolint:gosec // not negative
}

// aioInfo is the driver-specific part of bdev_get_bdevs.
type aioInfo struct {
	AIO aioFileInfo `json:"aio"`
}

type aioFileInfo struct {
	Filename          string `json:"filename"`
	BlockSizeOverride bool   `json:"block_size_override"`
	ReadOnly          bool   `json:"readonly"`
	Fallocate         bool   `json:"fallocate"`
	NoWait            bool   `json:"nowait"`
}

// Spec returns what to register.
func (a *AIO) Spec() Spec {
	types := IORead | IOWrite | IOFlush | IOReset | IOWriteZeroes
	if a.options.Fallocate {
		types |= IOUnmap
	}
	info := aioInfo{aioFileInfo{
		Filename: a.options.Filename, BlockSizeOverride: a.override, ReadOnly: a.options.ReadOnly,
		Fallocate: a.options.Fallocate, NoWait: a.options.NoWait,
	}}
	return Spec{
		Name: a.options.Name, UUID: a.options.UUID, Module: ModuleAIO, Product: "AIO disk",
		WriteCache: true, IOTypes: types, Device: a, DriverSpecific: func() any { return info },
	}
}

// CreateAIO makes an aio bdev and registers it.
func CreateAIO(r *Registry, o AIOOptions) (*Info, error) {
	a, err := NewAIO(o)
	if err != nil {
		return nil, fmt.Errorf("aio bdev %q: %w", o.Name, err)
	}
	return r.adopt(a.Spec())
}

// RescanAIO looks at the size of the file again: a grown one shows at once, a shrunk one is
// FailedPrecondition (EBUSY) and changes nothing, for an empty one the bdev goes. A bdev of another
// kind is NotFound (ENODEV). As in SPDK, a part of a block at the end does not count.
func RescanAIO(ctx context.Context, r *Registry, name string) error {
	// The descriptor keeps the file open, and keeps the bdev from shrinking.
	d, err := r.Open(name, false, Events{})
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // it never fails
	a, ok := d.device.(*AIO)
	if !ok {
		return errNotFound(name)
	}
	size, err := a.size()
	if err != nil {
		return err
	}
	if size == 0 {
		if err := d.Close(); err != nil {
			return err
		}
		return r.Unregister(ctx, d.Name(), ModuleAIO)
	}
	return r.Resize(d.Name(), size/uint64(a.block))
}

// Geometry implements [Device].
func (a *AIO) Geometry() Geometry {
	return Geometry{BlockSizeBytes: a.block, Blocks: a.blocks.Load()}
}

// SetBlocks implements [Resizer].
func (a *AIO) SetBlocks(blocks uint64) { a.blocks.Store(blocks) }

// Close waits for the workers and closes the file.
func (a *AIO) Close() error {
	a.workers.Wait()
	if err := a.file.Close(); err != nil {
		return fmt.Errorf("close the file of aio bdev %q: %w", a.options.Name, err)
	}
	return nil
}
