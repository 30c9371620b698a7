// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"math"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

func notifyMethods() []method {
	return []method{
		without("notify_get_types", refusedAny("No parameters required"), func(_ context.Context, c *call) {
			// SPDK's list; of its first two kinds there are no objects here, so none is ever sent.
			c.reply([]string{
				"fsdev_register", "fsdev_unregister", bdev.NotifyRegister, bdev.NotifyUnregister, bdev.NotifyResize,
			})
		}),
		taking("notify_get_notifications", refusedArgument, notifications).maybe(),
	}
}

type notificationsParams struct {
	ID  uint64  `rpc:"id"`
	Max *uint64 `rpc:"max"`
}

type notificationResult struct {
	Type    string `json:"type"`
	Context string `json:"ctx"`
	ID      uint64 `json:"id"`
}

func notifications(_ context.Context, c *call, p *notificationsParams) {
	limit := uint64(math.MaxUint64)
	if p.Max != nil {
		limit = *p.Max
	}
	found := c.server.bdevs.Notifications(p.ID, limit)
	out := make([]notificationResult, 0, len(found))
	for _, n := range found {
		out = append(out, notificationResult{Type: n.Type, Context: n.Context, ID: n.ID})
	}
	c.reply(out)
}
