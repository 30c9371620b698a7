// SPDX-License-Identifier: Apache-2.0

package bdev

import (
	"bytes"
	"fmt"
	"math/bits"
	"os"
	"syscall"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// ModuleMalloc is the module name of malloc bdevs.
const ModuleMalloc = "malloc"

// MallocOptions describe a malloc bdev.
type MallocOptions struct {
	// Name of the bdev; CreateMalloc finds one if it is empty.
	Name string
	// UUID of the bdev; nil for a random one.
	UUID uuid.UUID
	// BlockSizeBytes is a multiple of 512, without metadata.
	BlockSizeBytes uint32
	// Blocks is the size; at least 1.
	Blocks uint64
	// PhysicalBlockSizeBytes is a multiple of 512, or 0.
	PhysicalBlockSizeBytes uint32
	// Metadata of a block: 0, 8, 16, 32, 64 or 128 bytes.
	Metadata Metadata
}

// Malloc is a device in anonymous memory, which the kernel provides page by page as it is written.
// Its requests end before Submit returns.
type Malloc struct {
	options MallocOptions
	mem     []byte
	shape   Geometry
}

// NewMalloc checks the options and takes the memory. Bad options are InvalidArgument (EINVAL); more
// memory than the machine has, or a block size of 0, is ResourceExhausted (ENOMEM), as in SPDK.
func NewMalloc(o MallocOptions) (*Malloc, error) {
	if o.Blocks == 0 {
		return nil, errInvalid("a malloc bdev needs at least one block")
	}
	if o.BlockSizeBytes%512 != 0 {
		return nil, errInvalid("block size %d is not a multiple of 512", o.BlockSizeBytes)
	}
	if o.PhysicalBlockSizeBytes%512 != 0 {
		return nil, errInvalid("physical block size %d is not a multiple of 512", o.PhysicalBlockSizeBytes)
	}
	if err := o.Metadata.check(); err != nil {
		return nil, err
	}
	block := o.BlockSizeBytes
	if o.Metadata.Interleaved {
		block += o.Metadata.SizeBytes
	}
	high, size := bits.Mul64(uint64(block), o.Blocks)
	if high != 0 || size == 0 || size > machineMemory() {
		return nil, errdefs.Wrap(errdefs.ResourceExhausted, syscall.ENOMEM,
			"%d blocks of %d bytes are not to be had in memory", o.Blocks, block)
	}
	mem, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON) //nolint:gosec // at most the machine's memory
	if err != nil {
		return nil, errdefs.Wrap(errdefs.ResourceExhausted, syscall.ENOMEM,
			"map %d bytes of memory (%v)", size, err)
	}
	return &Malloc{options: o, mem: mem, shape: Geometry{BlockSizeBytes: block, Blocks: o.Blocks}}, nil
}

// machineMemory returns the memory of the machine in bytes, or 0 if it cannot be known.
func machineMemory() uint64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return uint64(info.Totalram) * uint64(info.Unit) //nolint:unconvert // 32 bits on some architectures
}

// check refuses what SPDK refuses for malloc and null bdevs.
func (m *Metadata) check() error {
	switch m.SizeBytes {
	case 0, 8, 16, 32, 64, 128:
	default:
		return errInvalid("metadata of %d bytes: it must be 0, 8, 16, 32, 64 or 128", m.SizeBytes)
	}
	switch {
	case m.DIFType > 3:
		return errInvalid("protection information type %d: it must be 0 to 3", m.DIFType)
	case m.DIFType != 0 && m.SizeBytes < 8:
		return errInvalid("protection information needs metadata of at least 8 bytes")
	}
	return nil
}

// Spec returns what to register.
func (m *Malloc) Spec() Spec {
	return Spec{
		Name: m.options.Name, UUID: m.options.UUID, Module: ModuleMalloc, Product: "Malloc disk",
		Metadata: m.options.Metadata, WriteCache: true, NUMA: true, Device: m,
		IOTypes: IORead | IOWrite | IOUnmap | IOFlush | IOReset | IOWriteZeroes | IOZeroCopy | IOCompare | IOAbort | IOCopy,
	}
}

// CreateMalloc makes a malloc bdev and registers it. An empty name becomes Malloc<n>.
func CreateMalloc(r *Registry, o MallocOptions) (*Info, error) {
	m, err := NewMalloc(o)
	if err != nil {
		return nil, fmt.Errorf("malloc bdev %q: %w", o.Name, err)
	}
	if o.Name == "" {
		m.options.Name = fmt.Sprintf("Malloc%d", r.mallocs.Add(1)-1)
	}
	return r.adopt(m.Spec())
}

// Geometry implements [Device].
func (m *Malloc) Geometry() Geometry { return m.shape }

// Bytes implements [Memory].
func (m *Malloc) Bytes(block, count uint64) []byte {
	size := uint64(m.shape.BlockSizeBytes)
	return m.mem[block*size : (block+count)*size : (block+count)*size]
}

// Submit implements [Device].
func (m *Malloc) Submit(r *Request) {
	var err error
	switch r.Op {
	case OpRead:
		copy(r.Data, m.Bytes(r.Block, r.Count))
	case OpWrite:
		copy(m.Bytes(r.Block, r.Count), r.Data)
	case OpWriteZeroes, OpUnmap:
		m.zero(r.Block, r.Count)
	case OpCompare:
		if !bytes.Equal(m.Bytes(r.Block, r.Count), r.Data) {
			err = ErrCompare
		}
	case OpFlush:
	default:
		err = ErrOp
	}
	r.Complete(err)
}

// zero clears a range, and gives whole pages back when it is large.
func (m *Malloc) zero(block, count uint64) {
	const worthACall = 64 << 10
	b := m.Bytes(block, count)
	if len(b) >= worthACall {
		page := uint64(os.Getpagesize()) //nolint:gosec // a small positive number
		start := block * uint64(m.shape.BlockSizeBytes)
		head := (page - start%page) % page
		whole := (uint64(len(b)) - head) / page * page
		if unix.Madvise(b[head:head+whole], unix.MADV_DONTNEED) == nil {
			clear(b[:head])
			clear(b[head+whole:])
			return
		}
	}
	clear(b)
}

// Close gives the memory back.
func (m *Malloc) Close() error {
	if err := unix.Munmap(m.mem); err != nil {
		return fmt.Errorf("unmap the memory of malloc bdev %q: %w", m.options.Name, err)
	}
	m.mem = nil
	return nil
}
