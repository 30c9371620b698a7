// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"errors"
	"math/bits"
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

const mebibyte = 1 << 20

// findBdev returns the bdev with that name, alias or uuid, or nil if there is none.
func (d *Driver) findBdev(ctx context.Context, name string) (*driver.Bdev, error) {
	found, err := spdkrpc.GetBdev(ctx, d.client, name)
	if r := spdkrpc.Refusal(err); r != nil && r.Code == spdkrpc.CodeNoDevice {
		return nil, nil //nolint:nilnil // to find nothing is no failure
	}
	if err != nil {
		return nil, plain("bdev_get_bdevs", err, "look for bdev %s", name)
	}
	if len(found) == 0 {
		return nil, nil //nolint:nilnil // as above
	}
	return bdevObject(&found[0]), nil
}

func (d *Driver) createBdev(ctx context.Context, step *driver.Step, b *driver.Bdev) error {
	var method string
	var err error
	switch b.Kind {
	case driver.BdevNull:
		method = "bdev_null_create"
		err = spdkrpc.BdevNullCreate{
			Name: b.Name, BlockSize: b.BlockSizeBytes, NumBlocks: b.Blocks, UUID: b.UUID,
		}.Do(ctx, d.client)
	case driver.BdevMalloc:
		method = "bdev_malloc_create"
		// Metadata lies between the blocks: NVMe-oF carries no other.
		err = spdkrpc.BdevMallocCreate{
			Name: b.Name, BlockSize: b.BlockSizeBytes, NumBlocks: b.Blocks, UUID: b.UUID,
			MdSize: b.MetadataBytes, MdInterleave: b.MetadataBytes > 0,
		}.Do(ctx, d.client)
	case driver.BdevAio:
		if sess, _ := d.now(); !sess.features.AioUUID && sess.methods != nil {
			return errdefs.New(errdefs.Unimplemented,
				"bdev %s: %s gives aio bdevs a new uuid at each start, and hosts would lose the disk: v24.09 or newer is needed",
				b.Name, d.Status().Version)
		}
		method = "bdev_aio_create"
		// Versions that take a uuid take fallocate, too.
		err = spdkrpc.BdevAioCreate{
			Name: b.Name, Filename: b.Filename, BlockSize: b.BlockSizeBytes, UUID: b.UUID, Fallocate: true,
		}.Do(ctx, d.client)
	case driver.BdevCrypto:
		return d.createCryptoBdev(ctx, step, b)
	case driver.BdevNvme, driver.BdevForeign:
		return errdefs.New(errdefs.InvalidArgument, "bdev %s: a bdev of kind %s cannot be made", b.Name, b.Kind)
	default:
		return errdefs.New(errdefs.Unimplemented, "bdev %s: SPDK has no kind %s", b.Name, b.Kind)
	}
	if err == nil {
		return d.checkSize(ctx, b)
	}
	if settled(err) {
		return plain(method, err, "create %s bdev %s", b.Kind, b.Name)
	}
	return d.explainBdev(ctx, step, b, method, err)
}

// checkSize takes an aio bdev away again whose file has not the size that was asked for.
func (d *Driver) checkSize(ctx context.Context, b *driver.Bdev) error {
	if b.Kind != driver.BdevAio || b.Blocks == 0 {
		return nil
	}
	there, err := d.findBdev(ctx, b.Name)
	if err != nil {
		// It was made, whatever this says: that nothing was done may be true of the look alone.
		return unsure(err, "bdev %s was made, and its size is not known", b.Name)
	}
	if there == nil || there.Blocks == b.Blocks {
		return nil
	}
	err = errdefs.New(errdefs.InvalidArgument, "bdev %s: file %s has %d blocks of %d bytes, not %d: leave blocks_count 0 to take the file's size",
		b.Name, b.Filename, there.Blocks, there.BlockSizeBytes, b.Blocks)
	if undoErr := d.deleteBdev(ctx, there); undoErr != nil {
		return unsure(errors.Join(err, undoErr), "bdev %s was made of a file of another size, and not taken away", b.Name)
	}
	return err
}

// explainBdev finds out why a bdev could not be made.
func (d *Driver) explainBdev(ctx context.Context, step *driver.Step, b *driver.Bdev, method string, err error) error {
	there, lookErr := d.findBdev(ctx, b.Name)
	if lookErr != nil {
		return lookErr
	}
	if there != nil && there.Name == b.Name {
		return exists(step, there, method, err)
	}
	if there != nil {
		return refuse(errdefs.AlreadyExists, method, err,
			"bdev %s: the name is an alias of bdev %s: use another", b.Name, there.Name)
	}
	code := spdkrpc.Refusal(err).Code
	if code == spdkrpc.CodeExists {
		if there, lookErr = d.findBdev(ctx, b.UUID); lookErr != nil {
			return lookErr
		}
		if there != nil {
			return refuse(errdefs.AlreadyExists, method, err,
				"bdev %s: uuid %s is that of bdev %s: use another", b.Name, b.UUID, there.Name)
		}
	}
	if b.Kind == driver.BdevAio {
		switch code {
		case spdkrpc.CodeNoEntry, spdkrpc.CodeNotDirectory, spdkrpc.CodeAccess, spdkrpc.CodePerm:
			return refuse(errdefs.FailedPrecondition, method, err,
				"bdev %s: file %s cannot be opened by the data plane: create it there, readable and writable", b.Name, b.Filename)
		case spdkrpc.CodeInvalid:
			return refuse(errdefs.InvalidArgument, method, err,
				"bdev %s: file %s with block size %d: the block size must be a power of two of at least 512 that divides the file's size",
				b.Name, b.Filename, b.BlockSizeBytes)
		}
	}
	return plain(method, err, "create %s bdev %s of %d blocks of %d bytes", b.Kind, b.Name, b.Blocks, b.BlockSizeBytes)
}

// updateBdev changes the size: null bdevs grow, aio bdevs follow their file.
func (d *Driver) updateBdev(ctx context.Context, step *driver.Step, b *driver.Bdev) error {
	from, ok := step.From.(*driver.Bdev)
	if !ok {
		return errdefs.New(errdefs.Internal, "%s: update without what is there", b.Key())
	}
	differences := b.Differences(from)
	if slices.ContainsFunc(differences, func(field string) bool { return field != "num_blocks" }) {
		return notInPlace(step, "only the size can be changed, not %v", differences)
	}
	switch b.Kind {
	case driver.BdevAio:
		err := spdkrpc.BdevAioRescan(ctx, d.client, b.Name)
		if r := spdkrpc.Refusal(err); r != nil && r.Code == spdkrpc.CodeBusy {
			return refuse(errdefs.FailedPrecondition, "bdev_aio_rescan", err,
				"bdev %s: file %s has become smaller: make it as large as before", b.Name, from.Filename)
		}
		if err = d.missing(ctx, "bdev_aio_rescan", b.Name, err); err != nil || b.Blocks == 0 {
			return err
		}
		there, err := d.findBdev(ctx, b.Name)
		if err == nil && there != nil && there.Blocks != b.Blocks {
			return errdefs.New(errdefs.FailedPrecondition, "bdev %s: file %s has %d blocks of %d bytes, not %d: make it that large, or ask for what it has",
				b.Name, b.Filename, there.Blocks, there.BlockSizeBytes, b.Blocks)
		}
		return err
	case driver.BdevNull:
		if len(differences) == 0 {
			return nil
		}
		high, size := bits.Mul64(b.Blocks, uint64(from.BlockSizeBytes))
		switch {
		case b.Blocks < from.Blocks:
			return notInPlace(step, "it can grow only, from %d blocks", from.Blocks)
		case high != 0 || size%mebibyte != 0:
			return notInPlace(step, "the size must be whole MiB: %d blocks of %d bytes are not", b.Blocks, from.BlockSizeBytes)
		}
		err := spdkrpc.BdevNullResize{Name: b.Name, NewSize: size / mebibyte}.Do(ctx, d.client)
		return d.missing(ctx, "bdev_null_resize", b.Name, err)
	default:
		if len(differences) == 0 {
			return nil
		}
		return notInPlace(step, "a bdev of kind %s keeps its size", b.Kind)
	}
}

// missing returns the outcome of a call on a bdev that should exist.
func (d *Driver) missing(ctx context.Context, method, name string, err error) error {
	if err == nil {
		return nil
	}
	if r := spdkrpc.Refusal(err); r != nil && r.Code == spdkrpc.CodeNoDevice {
		there, lookErr := d.findBdev(ctx, name)
		switch {
		case lookErr != nil:
			return lookErr
		case there == nil:
			return refuse(errdefs.NotFound, method, err, "bdev %s does not exist", name)
		}
		return refuse(errdefs.FailedPrecondition, method, err, "bdev %s is of kind %s now: somebody else has made it", name, there.Kind)
	}
	return plain(method, err, "bdev %s", name)
}

func (d *Driver) deleteBdev(ctx context.Context, b *driver.Bdev) error {
	var method string
	var err error
	switch b.Kind {
	case driver.BdevNull:
		method, err = "bdev_null_delete", spdkrpc.BdevNullDelete(ctx, d.client, b.Name)
	case driver.BdevMalloc:
		method, err = "bdev_malloc_delete", spdkrpc.BdevMallocDelete(ctx, d.client, b.Name)
	case driver.BdevAio:
		method, err = "bdev_aio_delete", spdkrpc.BdevAioDelete(ctx, d.client, b.Name)
	case driver.BdevCrypto:
		return d.deleteCryptoBdev(ctx, b)
	case driver.BdevNvme, driver.BdevForeign:
		return errdefs.New(errdefs.InvalidArgument, "bdev %s: a bdev of kind %s is not ours to delete", b.Name, b.Kind)
	default:
		return errdefs.New(errdefs.Unimplemented, "bdev %s: SPDK has no kind %s", b.Name, b.Kind)
	}
	if err = d.missing(ctx, method, b.Name, err); errdefs.ClassOf(err) == errdefs.NotFound {
		return nil
	}
	return err
}
