// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// File systems whose pages come from memory.
const (
	tmpfsMagic     = 0x01021994
	hugetlbfsMagic = 0x958458f6
)

// mapping is a window into a file of shared memory.
type mapping struct {
	data  []byte // the window
	whole []byte // what was mapped: the window, and what it needs for alignment
	// stable says that the file cannot shrink, so that its pages do not vanish.
	stable bool
}

// mapFile maps size bytes at an offset of a file, and closes the descriptor. The file must live in
// memory, or a fault could wait for a slow or hostile file system; and it must be long enough.
func mapFile(fd int, offset, size uint64) (*mapping, error) {
	defer closeFD(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, fmt.Errorf("look at the file of a memory region: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return nil, fmt.Errorf("look at the file system of a memory region: %w", err)
	}
	magic := uint32(fs.Type) //nolint:gosec // magic numbers have 32 bits
	if stat.Mode&unix.S_IFMT != unix.S_IFREG || magic != tmpfsMagic && magic != hugetlbfsMagic {
		return nil, fmt.Errorf("guest memory must be a memfd, or a file on tmpfs or hugetlbfs; this one has mode %#o on a file system of type %#x",
			stat.Mode, magic)
	}
	length := uint64(max(stat.Size, 0))
	if size == 0 || offset > length || size > length-offset {
		return nil, fmt.Errorf("a region of %d bytes at %d is not within its file, which has %d", size, offset, length)
	}
	page := uint64(max(stat.Blksize, 4096))
	start := offset / page * page
	end := (offset + size + page - 1) / page * page
	whole, err := unix.Mmap(fd, int64(start), int(end-start), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED) //nolint:gosec // within the length of a file
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of guest memory: %w", end-start, err)
	}
	m := &mapping{whole: whole, data: whole[offset-start : offset-start+size : offset-start+size]}
	if seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err == nil && magic == tmpfsMagic {
		m.stable = seals&unix.F_SEAL_SHRINK != 0
	}
	// A core dump of this process should not hold a guest's secrets.
	if err := unix.Madvise(whole, unix.MADV_DONTDUMP); err != nil {
		return nil, errors.Join(fmt.Errorf("keep guest memory out of core dumps: %w", err), m.unmap())
	}
	return m, nil
}

func (m *mapping) unmap() error {
	if err := unix.Munmap(m.whole); err != nil {
		return fmt.Errorf("unmap guest memory: %w", err)
	}
	return nil
}

// region is a mapped range of guest memory. The tables that hold it share it.
type region struct {
	regionSpec
	*mapping
	refs atomic.Int32
}

// mapRegion maps what the front end describes, and closes the descriptor.
func mapRegion(fd int, spec regionSpec) (*region, error) {
	if spec.guest+spec.size < spec.guest || spec.user+spec.size < spec.user || spec.offset+spec.size < spec.offset {
		closeFD(fd)
		return nil, fmt.Errorf("a region of %d bytes at %#x (%#x in the front end) runs beyond the end of addresses", spec.size, spec.guest, spec.user)
	}
	m, err := mapFile(fd, spec.offset, spec.size)
	if err != nil {
		return nil, err
	}
	return &region{regionSpec: spec, mapping: m}, nil
}

// table is the guest's memory as it is at some time. It does not change; a new one takes its place.
type table struct {
	regions []*region
	refs    atomic.Int32
}

// newTable returns a table with one reference. It takes a reference on each region.
func newTable(regions []*region) (*table, error) {
	t := &table{regions: slices.SortedFunc(slices.Values(regions), func(a, b *region) int {
		if a.guest < b.guest {
			return -1
		}
		return 1
	})}
	for i, r := range t.regions {
		if i > 0 && t.regions[i-1].guest+t.regions[i-1].size > r.guest {
			return nil, fmt.Errorf("memory regions at %#x and %#x overlap", t.regions[i-1].guest, r.guest)
		}
	}
	for _, r := range t.regions {
		r.refs.Add(1)
	}
	t.refs.Store(1)
	return t, nil
}

// release drops a reference; the last one unmaps what no other table has.
func (t *table) release() error {
	if t == nil || t.refs.Add(-1) > 0 {
		return nil
	}
	var errs []error
	for _, r := range t.regions {
		if r.refs.Add(-1) == 0 {
			errs = append(errs, r.unmap())
		}
	}
	return errors.Join(errs...)
}

// user finds n bytes at an address of the front end. They lie in one region.
func (t *table) user(addr, n uint64) ([]byte, error) {
	for _, r := range t.regions {
		if at := addr - r.user; addr >= r.user && at < r.size && n <= r.size-at {
			return r.data[at : at+n], nil
		}
	}
	return nil, fmt.Errorf("%d bytes at %#x of the front end are not in its memory table", n, addr)
}

// at returns the region that holds a guest address, or nil.
func (t *table) at(addr uint64) *region {
	for _, r := range t.regions {
		if addr >= r.guest && addr-r.guest < r.size {
			return r
		}
	}
	return nil
}
