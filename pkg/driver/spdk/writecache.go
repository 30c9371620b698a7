// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// cache is whether a bdev has a volatile write cache, which SPDK does not tell.
type cache uint8

const (
	cacheUnknown cache = iota
	cacheNone
	cacheThere
)

// cacheOf follows SPDK's modules: malloc and aio have one, null has none, crypto has its base's, and
// nvme what the remote controller reports, which cannot be seen.
func cacheOf(bdevs map[string]*driver.Bdev, name string) cache {
	for range bdevs {
		b := bdevs[name]
		if b == nil {
			return cacheUnknown
		}
		switch b.Kind {
		case driver.BdevMalloc, driver.BdevAio:
			return cacheThere
		case driver.BdevNull:
			return cacheNone
		case driver.BdevCrypto:
			name = b.Base
		case driver.BdevNvme, driver.BdevForeign:
			return cacheUnknown
		}
	}
	return cacheUnknown
}

// explainCache decides a refusal of a namespace beside others, for which no other reason was found.
// Since v26.09 SPDK keeps hosts that are connected from seeing a write cache appear.
func (d *Driver) explainCache(ctx context.Context, n *driver.Namespace, others []*driver.Namespace, method string, err error) error {
	qpairs, lookErr := spdkrpc.GetNvmfQpairs(ctx, d.client, n.Subsystem)
	if lookErr != nil {
		return plain("nvmf_subsystem_get_qpairs", lookErr, "look who is connected to subsystem %s", n.Subsystem)
	}
	found, lookErr := spdkrpc.GetBdevs(ctx, d.client)
	if lookErr != nil {
		return plain("bdev_get_bdevs", lookErr, "look at the bdevs of subsystem %s", n.Subsystem)
	}
	bdevs := make(map[string]*driver.Bdev, len(found))
	for i := range found {
		bdevs[found[i].Name] = bdevObject(&found[i])
	}
	possible := len(qpairs) > 0 && cacheOf(bdevs, n.Bdev) != cacheNone
	certain := cacheOf(bdevs, n.Bdev) == cacheThere
	for _, other := range others {
		c := cacheOf(bdevs, other.Bdev)
		possible = possible && c != cacheThere
		certain = certain && c == cacheNone
	}
	switch {
	case possible && certain:
		return refuse(errdefs.FailedPrecondition, method, err,
			"namespace %d of subsystem %s: bdev %s has a write cache and the others there have none, which hosts that are connected must not see change: disconnect them first, or use another subsystem",
			n.NSID, n.Subsystem, n.Bdev)
	case possible:
		return refuse(errdefs.FailedPrecondition, method, err,
			"namespace %d of subsystem %s: bdev %s is refused beside the others; most likely it has a write cache and they have none, which hosts that are connected must not see change: disconnect them first, or use another subsystem",
			n.NSID, n.Subsystem, n.Bdev)
	}
	return plain(method, err, "add namespace %d on bdev %s to subsystem %s", n.NSID, n.Bdev, n.Subsystem)
}
