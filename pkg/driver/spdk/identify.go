// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"sync"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

const (
	// identifyAtOnce is how many namespaces of one controller are asked for at a time: half of what fits
	// into SPDK's admin queue.
	identifyAtOnce = 16
	// identifyPatience is how long an observation waits for the identifiers of new namespaces. Later ones
	// are told by an event.
	identifyPatience = 300 * time.Millisecond
	// identifyTimeout bounds the wait for one answer.
	identifyTimeout = 10 * time.Second
	// identifyTries is how often a namespace is asked for over the same connection.
	identifyTries = 3
)

// identities remembers what remote namespaces are known by at their targets. SPDK tells one of the
// identifiers, as the bdev's uuid, and not which; so the target is asked, once for each namespace and
// connection.
type identities struct {
	mu sync.Mutex
	// known is by name of bdev; guarded by mu, and so is what is in it.
	known map[string]*identity
}

type identity struct {
	of      occasion
	ids     spdkrpc.NvmeNamespaceIDs
	found   bool
	running bool
	tries   int
}

// occasion is what an answer is good for: it is asked for again when anything of this changes.
type occasion struct {
	epoch  uint64
	uuid   string
	cntlid uint16
}

func newIdentities() *identities { return &identities{known: make(map[string]*identity)} }

// connections returns the first connection of each controller, the one that commands go to, if it works.
func connections(controllers []spdkrpc.NvmeController) map[string]spdkrpc.NvmeCtrlr {
	first := make(map[string]spdkrpc.NvmeCtrlr, len(controllers))
	for i := range controllers {
		if c := controllers[i].Ctrlrs; len(c) > 0 && c[0].State == "enabled" {
			first[controllers[i].Name] = c[0]
		}
	}
	return first
}

// missing notes which namespaces have to be asked for, by controller. When the bdevs are all there are,
// it forgets those that are gone; when they are some, it says whether somebody else is asking for any.
func (i *identities) missing(epoch uint64, bdevs []*driver.Bdev, controllers []spdkrpc.NvmeController, all bool) (asked map[string][]*driver.Bdev, awaited bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	first := connections(controllers)
	asked = make(map[string][]*driver.Bdev)
	present := i.known
	if all {
		present = make(map[string]*identity, len(bdevs))
	}
	for _, b := range bdevs {
		known := i.known[b.Name]
		if known == nil {
			known = &identity{}
		}
		present[b.Name] = known
		awaited = awaited || known.running && !all
		c, connected := first[b.Nvme.Controller]
		if !connected || known.running {
			continue // what was known stays true until the connection is back
		}
		if now := (occasion{epoch, b.UUID, c.Cntlid}); known.of != now {
			if known.of.uuid == now.uuid {
				*known = identity{of: now, ids: known.ids} // most likely the same after a new connection
			} else {
				*known = identity{of: now}
			}
		}
		if !known.found && known.tries < identifyTries {
			known.running = true
			known.tries++
			asked[b.Nvme.Controller] = append(asked[b.Nvme.Controller], b)
		}
	}
	i.known = present
	return asked, awaited
}

// answered takes in what a target has said.
func (i *identities) answered(b *driver.Bdev, ids spdkrpc.NvmeNamespaceIDs, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	known := i.known[b.Name]
	if known == nil {
		return
	}
	known.running = false
	if err == nil {
		known.ids, known.found = ids, true
	}
}

// fill writes what is known into the objects.
func (i *identities) fill(bdevs []*driver.Bdev) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, b := range bdevs {
		if known := i.known[b.Name]; known != nil {
			b.Nvme.UUID, b.Nvme.NGUID, b.Nvme.EUI64 = known.ids.UUID, known.ids.NGUID, known.ids.EUI64
		}
	}
}

// identify finds out what the namespaces are known by; all says that there are no others. A target that
// is slow to answer delays nobody for long: what it says is told by an event.
func (d *Driver) identify(ctx context.Context, sess session, epoch uint64, bdevs []*driver.Bdev, controllers []spdkrpc.NvmeController, all bool) {
	if !sess.methods[spdkrpc.MethodNvmeSendCmd] {
		return
	}
	var asking sync.WaitGroup
	missing, awaited := d.identities.missing(epoch, bdevs, controllers, all)
	if awaited {
		d.events.put(driver.EventChanged)
	}
	for controller, some := range missing {
		queue := make(chan *driver.Bdev, len(some))
		for _, b := range some {
			queue <- b
		}
		close(queue)
		for range min(len(some), identifyAtOnce) {
			asking.Add(1)
			started := d.leftover.start(func() {
				defer asking.Done()
				d.identifyAll(context.WithoutCancel(ctx), controller, queue)
			})
			if !started {
				asking.Done()
			}
		}
	}
	if len(missing) > 0 {
		d.awaitIdentities(ctx, &asking)
	}
	d.identities.fill(bdevs)
}

// identifyAll asks one controller for namespaces until none is left.
func (d *Driver) identifyAll(ctx context.Context, controller string, queue <-chan *driver.Bdev) {
	for b := range queue {
		ctx, cancel := context.WithTimeout(ctx, identifyTimeout)
		ids, err := spdkrpc.GetNvmeNamespaceIDs(ctx, d.client, controller, b.Nvme.NSID)
		cancel()
		if err != nil {
			d.log.Debug("identifiers of a remote namespace not read", "bdev", b.Name, "err", err)
		}
		d.identities.answered(b, ids, err)
	}
}

// awaitIdentities waits for the answers a while, and has the rest told by an event.
func (d *Driver) awaitIdentities(ctx context.Context, asking *sync.WaitGroup) {
	all := make(chan struct{})
	late := make(chan struct{})
	started := d.leftover.start(func() {
		asking.Wait()
		close(all)
		select {
		case <-late:
			d.events.put(driver.EventChanged)
		default:
		}
	})
	if !started {
		return
	}
	timer := time.NewTimer(identifyPatience)
	defer timer.Stop()
	select {
	case <-all:
	case <-timer.C:
		close(late)
	case <-ctx.Done():
		close(late)
	}
}
