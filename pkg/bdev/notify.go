// SPDX-License-Identifier: Apache-2.0

package bdev

import "sync"

// notificationsKept is how many notifications SPDK remembers.
const notificationsKept = 1024

// Notification tells that a bdev came, went or changed its size.
type Notification struct {
	// Type is bdev_register, bdev_unregister or bdev_resize.
	Type string
	// Context is the name of the bdev.
	Context string
	// ID counts from 0 in every process, without gaps.
	ID uint64
}

// The types of notifications which a registry makes.
const (
	NotifyRegister   = "bdev_register"
	NotifyUnregister = "bdev_unregister"
	NotifyResize     = "bdev_resize"
)

// notifications remembers the latest 1,024.
type notifications struct {
	mu sync.Mutex
	// ring holds notification n at n modulo its length; guarded by mu.
	ring [notificationsKept]Notification
	// next is the ID of the next one; guarded by mu.
	next uint64
}

func (n *notifications) send(kind, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ring[n.next%notificationsKept] = Notification{Type: kind, Context: name, ID: n.next}
	n.next++
}

func (n *notifications) since(id, limit uint64) []Notification {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next > notificationsKept {
		id = max(id, n.next-notificationsKept)
	}
	if id >= n.next {
		return nil
	}
	count := min(n.next-id, limit)
	out := make([]Notification, 0, count)
	for i := range count {
		out = append(out, n.ring[(id+i)%notificationsKept])
	}
	return out
}

// Notifications returns the notifications from the id on, at most limit, oldest first. Of those
// that came before the latest 1,024 nothing is known any more.
func (r *Registry) Notifications(id, limit uint64) []Notification {
	return r.notes.since(id, limit)
}
