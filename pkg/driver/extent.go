// SPDX-License-Identifier: Apache-2.0

package driver

import "github.com/opi-bridge/opi-bridge/pkg/errdefs"

// Picky marks objects for which not everything will do that is there under the keys they need.
type Picky interface {
	Object
	// Suits returns nil if the object can be made on needed, or says what is wrong with that.
	Suits(needed Object) error
}

// Extent is how large a disk is that hosts have been shown; zero when that is not known.
type Extent struct {
	// Blocks is their number.
	Blocks uint64
	// BlockSizeBytes is the size of each.
	BlockSizeBytes uint32
}

// suits says what is wrong with a bdev for a disk that hosts know to have that extent: with less of it
// they would find their file systems cut off.
func (e Extent) suits(needed Object) error {
	b, ok := needed.(*Bdev)
	if !ok || e.Blocks == 0 || b.Blocks >= e.Blocks && b.BlockSizeBytes == e.BlockSizeBytes {
		return nil
	}
	return errdefs.New(errdefs.FailedPrecondition,
		"bdev %s has %d blocks of %d bytes, and hosts were shown %d blocks of %d: make the volume as large as it was",
		b.Name, b.Blocks, b.BlockSizeBytes, e.Blocks, e.BlockSizeBytes)
}

// Suits implements [Picky].
func (n *Namespace) Suits(needed Object) error { return n.Shown.suits(needed) }

// Suits implements [Picky].
func (b *VirtioBlk) Suits(needed Object) error { return b.Shown.suits(needed) }

// Suits implements [Picky].
func (t *VirtioScsiTarget) Suits(needed Object) error { return t.Shown.suits(needed) }
