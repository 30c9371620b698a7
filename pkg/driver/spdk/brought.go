// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"slices"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

// brought remembers which bdevs the remote controllers of one SPDK process have brought. SPDK does not
// tell it of a controller: only the answer to an attach does, or a look at all bdevs.
type brought struct {
	mu    sync.Mutex
	bdevs map[string]broughtBdevs // by controller; guarded by mu
}

// broughtBdevs are those of one controller.
type broughtBdevs struct {
	names []string
	more  bool // there are more than SPDK could name
}

func newBrought() *brought { return &brought{bdevs: make(map[string]broughtBdevs)} }

// note adds the bdevs that an attach has named; more says that it could not name all.
func (b *brought) note(controller string, names []string, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.bdevs[controller]
	for _, name := range names {
		if !slices.Contains(known.names, name) {
			known.names = append(known.names, name)
		}
	}
	known.more = known.more || more
	b.bdevs[controller] = known
}

// saw takes over what all bdevs and all controllers together tell.
func (b *brought) saw(objects map[driver.Key]driver.Object) {
	if b == nil { // nothing has been connected yet
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range objects {
		switch o := o.(type) {
		case *driver.Path:
			if _, known := b.bdevs[o.Controller]; !known {
				b.bdevs[o.Controller] = broughtBdevs{}
			}
		case *driver.Bdev:
			if o.Nvme == nil {
				continue
			}
			known := b.bdevs[o.Nvme.Controller]
			if !slices.Contains(known.names, o.Name) {
				known.names = append(known.names, o.Name)
				b.bdevs[o.Nvme.Controller] = known
			}
		}
	}
}

// forget forgets a controller that has gone.
func (b *brought) forget(controller string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.bdevs, controller)
}

// by returns the names of the bdevs of a controller, and whether these are all.
func (b *brought) by(controller string) (names []string, all bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known, ok := b.bdevs[controller]
	return slices.Clone(known.names), ok && !known.more
}
