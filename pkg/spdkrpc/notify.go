// SPDX-License-Identifier: Apache-2.0

package spdkrpc

import "context"

// Notification tells of a bdev that came, went or changed its size. SPDK keeps the last 1024; ids
// begin at 0 in every process.
type Notification struct {
	ID   uint64 `json:"id"`
	Type string `json:"type"` // "bdev_register", "bdev_unregister", "bdev_resize", ...
	Ctx  string `json:"ctx"`  // name of the bdev
}

// NotifyGetNotifications are the parameters of notify_get_notifications.
type NotifyGetNotifications struct {
	ID  uint64 `json:"id"`            // the first that is wanted
	Max uint64 `json:"max,omitempty"` // 0 is all
}

// Do makes the call, which returns at once.
func (p NotifyGetNotifications) Do(ctx context.Context, c Caller) ([]Notification, error) {
	return get[[]Notification](ctx, c, "notify_get_notifications", p)
}
