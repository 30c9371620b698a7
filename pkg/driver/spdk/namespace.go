// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"encoding/hex"
	"strings"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

func (d *Driver) createNamespace(ctx context.Context, step *driver.Step, n *driver.Namespace) error {
	if left := d.removed.rest(n.Key(), time.Now()); left > 0 {
		if err := pause(ctx, left); err != nil {
			return err
		}
	}
	const method = "nvmf_subsystem_add_ns"
	_, err := spdkrpc.NvmfAddNs{NQN: n.Subsystem, Namespace: spdkrpc.NvmfNamespace{
		NSID: n.NSID, BdevName: n.Bdev, UUID: n.UUID, NGUID: n.NGUID, EUI64: n.EUI64,
	}}.Do(ctx, d.client)
	if err == nil {
		return nil
	}
	if settled(err) {
		return plain(method, err, "add namespace %d to subsystem %s", n.NSID, n.Subsystem)
	}
	there, all, lookErr := d.within(ctx, n.Subsystem, n.Key(), method, err)
	switch {
	case lookErr != nil:
		return lookErr
	case there != nil:
		return exists(step, there, method, err)
	}
	return d.explainNamespace(ctx, n, all, method, err)
}

// explainNamespace finds out why a namespace could not be added to a subsystem that holds all.
func (d *Driver) explainNamespace(ctx context.Context, n *driver.Namespace, all []driver.Object, method string, err error) error {
	var others []*driver.Namespace
	for _, o := range all {
		switch o := o.(type) {
		case *driver.Subsystem:
			if n.NSID > o.MaxNamespaces {
				return refuse(errdefs.InvalidArgument, method, err,
					"namespace %d of subsystem %s: the highest nsid there is %d", n.NSID, n.Subsystem, o.MaxNamespaces)
			}
		case *driver.Namespace:
			others = append(others, o)
			if o.Bdev == n.Bdev {
				return inUse(n, o, method, err)
			}
		}
	}
	b, lookErr := d.findBdev(ctx, n.Bdev)
	switch {
	case lookErr != nil:
		return lookErr
	case b == nil:
		return refuse(errdefs.NotFound, method, err, "namespace %d of subsystem %s: bdev %s does not exist", n.NSID, n.Subsystem, n.Bdev)
	case b.Claimed:
		return d.explainClaim(ctx, n, b, method, err)
	case !isHex(n.NGUID, 32) || !isHex(n.EUI64, 16) || !isUUID(n.UUID):
		return refuse(errdefs.InvalidArgument, method, err,
			"namespace %d of subsystem %s on bdev %s: uuid %q, nguid %q (32 hexadecimal digits) or eui64 %q (16) is malformed",
			n.NSID, n.Subsystem, n.Bdev, n.UUID, n.NGUID, n.EUI64)
	case b.MetadataBytes > 0:
		return refuse(errdefs.InvalidArgument, method, err,
			"namespace %d of subsystem %s: this data plane does not export bdev %s with %d bytes of metadata a block",
			n.NSID, n.Subsystem, n.Bdev, b.MetadataBytes)
	case len(others) > 0:
		return d.explainCache(ctx, n, others, method, err)
	}
	return plain(method, err, "add namespace %d on bdev %s to subsystem %s", n.NSID, n.Bdev, n.Subsystem)
}

// isHex reports whether id is empty or that many hexadecimal digits.
func isHex(id string, digits int) bool {
	_, err := hex.DecodeString(id)
	return id == "" || len(id) == digits && err == nil
}

// isUUID reports whether id is empty or a UUID with dashes.
func isUUID(id string) bool {
	return id == "" || len(id) == 36 && isHex(strings.ReplaceAll(id, "-", ""), 32)
}

// explainClaim says who has claimed a bdev, as far as it can be seen.
func (d *Driver) explainClaim(ctx context.Context, n *driver.Namespace, b *driver.Bdev, method string, err error) error {
	by, lookErr := d.claimant(ctx, b.Name)
	if lookErr != nil {
		return lookErr
	}
	return refuse(errdefs.FailedPrecondition, method, err,
		"namespace %d of subsystem %s: bdev %s is claimed by %s: free it there first", n.NSID, n.Subsystem, n.Bdev, by)
}

// inUse is the outcome of an add whose bdev is another namespace already.
func inUse(n, other *driver.Namespace, method string, err error) error {
	return refuse(errdefs.FailedPrecondition, method, err,
		"namespace %d of subsystem %s: bdev %s is namespace %d of subsystem %s already: delete that first",
		n.NSID, n.Subsystem, n.Bdev, other.NSID, other.Subsystem)
}

func (d *Driver) deleteNamespace(ctx context.Context, n *driver.Namespace) error {
	err := spdkrpc.NvmfRemoveNs{NQN: n.Subsystem, NSID: n.NSID}.Do(ctx, d.client)
	if spdkrpc.Refusal(err) == nil {
		d.removed.note(n.Key(), time.Now())
	}
	return d.gone(ctx, n.Subsystem, n.Key(), "nvmf_subsystem_remove_ns", err)
}
