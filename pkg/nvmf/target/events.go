// SPDX-License-Identifier: Apache-2.0

package target

import (
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// maxAsyncEvents is how many Asynchronous Event Requests may wait.
const maxAsyncEvents = 4

// events holds the asynchronous events of a controller (base 5.2). An event is sent at most once
// until the host has read the log page that goes with it.
type events struct {
	config  uint32
	waiting []*request
	pending []nvme.AsyncEvent
	masked  []nvme.AsyncEvent
	// changed are the namespaces for the log page; overflow means more than it holds.
	changed  []uint32
	overflow bool
}

// post sends an event, keeps it until the host asks, or drops it when the host does not want it.
func (c *controller) post(e nvme.AsyncEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.postLocked(e)
}

func (c *controller) postLocked(e nvme.AsyncEvent) {
	ev := &c.events
	if ev.config&wanted(e) == 0 || slices.Contains(ev.masked, e) || c.closing {
		return
	}
	ev.masked = append(ev.masked, e)
	if n := len(ev.waiting); n > 0 {
		r := ev.waiting[n-1]
		ev.waiting = ev.waiting[:n-1]
		r.dw0 = uint32(e)
		r.q.push(r)
		return
	}
	ev.pending = append(ev.pending, e)
}

// wanted returns the bit of the configuration that enables an event.
func wanted(e nvme.AsyncEvent) uint32 {
	switch e {
	case nvme.EventNamespaceChanged:
		return nvme.AsyncEventNamespace
	case nvme.EventANAChanged:
		return nvme.AsyncEventANA
	case nvme.EventDiscoveryChanged:
		return nvme.AsyncEventDiscoveryLog
	default:
		return 0
	}
}

// namespaceChanged notes a namespace for the log page and sends the event.
func (c *controller) namespaceChanged(nsid uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ev := &c.events
	if !slices.Contains(ev.changed, nsid) {
		if len(ev.changed) == nvme.NamespaceListMax {
			ev.overflow = true
		} else {
			ev.changed = append(ev.changed, nsid)
		}
	}
	c.postLocked(nvme.EventNamespaceChanged)
}

// changedNamespaces returns the log page and clears it.
func (c *controller) changedNamespaces() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := c.events.changed
	if c.events.overflow {
		ids = []uint32{nvme.NSIDBroadcast}
	}
	c.events.changed, c.events.overflow = nil, false
	page := make([]byte, nvme.IdentifySize)
	nvme.EncodeNamespaceList(page, ids)
	return page
}

// unmask lets an event through again, after its log page has been read.
func (c *controller) unmask(e nvme.AsyncEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events.masked = slices.DeleteFunc(c.events.masked, func(m nvme.AsyncEvent) bool { return m == e })
}

// await keeps an Asynchronous Event Request, or answers it with an event that waits.
func (c *controller) await(r *request) (nvme.Status, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ev := &c.events
	if len(ev.pending) > 0 {
		r.dw0 = uint32(ev.pending[0])
		ev.pending = ev.pending[1:]
		return nvme.Success, true
	}
	if len(ev.waiting) >= maxAsyncEvents {
		return nvme.StatusAsyncEventLimit, true
	}
	ev.waiting = append(ev.waiting, r)
	return nvme.Success, false
}

// abortWaiting ends the Asynchronous Event Request with an identifier, and says whether there was one.
func (c *controller) abortWaiting(cid uint16) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ev := &c.events
	i := slices.IndexFunc(ev.waiting, func(r *request) bool { return r.cid == cid })
	if i < 0 {
		return false
	}
	r := ev.waiting[i]
	ev.waiting = slices.Delete(ev.waiting, i, i+1)
	r.status = nvme.StatusAbortRequested
	r.q.push(r)
	return true
}
