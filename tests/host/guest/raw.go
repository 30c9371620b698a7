// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

// rawDisk is a block device of the kernel without the page cache between.
type rawDisk struct {
	fd       int
	geometry bdev.Geometry
	// pages are aligned buffers, as direct I/O needs them, one for each request in flight.
	pages chan []byte
}

// openRaw opens a device for so many requests of so many bytes at a time.
func openRaw(path string, depth int, ioBytes uint32) (*rawDisk, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	d := &rawDisk{fd: fd, pages: make(chan []byte, depth)}
	block, err := unix.IoctlGetInt(fd, unix.BLKSSZGET)
	if err != nil {
		return nil, fmt.Errorf("ask for the block size of %s: %w", path, err)
	}
	size, err := unix.Seek(fd, 0, unix.SEEK_END)
	if err != nil {
		return nil, fmt.Errorf("ask for the size of %s: %w", path, err)
	}
	d.geometry = bdev.Geometry{
		BlockSizeBytes: uint32(block),               //nolint:gosec // 512 to 64 KiB
		Blocks:         uint64(size / int64(block)), //nolint:gosec // not negative
	}
	for range depth {
		page, err := unix.Mmap(-1, 0, int(ioBytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return nil, fmt.Errorf("map a buffer: %w", err)
		}
		d.pages <- page
	}
	return d, nil
}

// Geometry implements [bdev.Device].
func (d *rawDisk) Geometry() bdev.Geometry { return d.geometry }

// Submit implements [bdev.Device].
func (d *rawDisk) Submit(r *bdev.Request) { go func() { r.Complete(d.do(r)) }() }

func (d *rawDisk) do(r *bdev.Request) error {
	page := <-d.pages
	defer func() { d.pages <- page }()
	data := page[:len(r.Data)]
	at := int64(r.Block) * int64(d.geometry.BlockSizeBytes) //nolint:gosec // within a disk
	var n int
	var err error
	switch r.Op {
	case bdev.OpRead:
		n, err = unix.Pread(d.fd, data, at)
		copy(r.Data, data)
	case bdev.OpWrite:
		copy(data, r.Data)
		n, err = unix.Pwrite(d.fd, data, at)
	default:
		return fmt.Errorf("operation %d is not for a load", r.Op)
	}
	if err == nil && n != len(r.Data) {
		err = fmt.Errorf("%d bytes instead of %d", n, len(r.Data))
	}
	return err
}

// Close implements [bdev.Device].
func (d *rawDisk) Close() error {
	for range cap(d.pages) {
		if err := unix.Munmap(<-d.pages); err != nil {
			return fmt.Errorf("unmap a buffer: %w", err)
		}
	}
	if err := unix.Close(d.fd); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}
