// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"errors"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

const (
	// watchPeriod is how often SPDK is asked what has happened to its bdevs: it has nothing that would
	// tell by itself.
	watchPeriod = 200 * time.Millisecond
	// watchMost bounds one answer; a longer story is told in several.
	watchMost = 256
)

// story is how far the notifications of one process have been read.
type story struct {
	epoch uint64
	last  spdkrpc.Notification
	begun bool // last has been read
}

// watch polls for notifications until ctx ends. It asks again only after the last answer, so a busy
// SPDK is asked less often.
func (d *Driver) watch(ctx context.Context) {
	tick := time.NewTicker(watchPeriod)
	defer tick.Stop()
	var s story
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		sess, epoch := d.now()
		if !d.Status().Up || !sess.methods["notify_get_notifications"] {
			continue
		}
		if s.epoch != epoch {
			s = story{epoch: epoch}
		}
		if d.read(ctx, &s) {
			d.events.put(driver.EventChanged)
		}
	}
}

// read takes in what is new, and reports whether anything is.
func (d *Driver) read(ctx context.Context, s *story) (news bool) {
	for {
		// The last one that is known is asked for again: if it is not the first to come, either much has
		// happened, or somebody between us and SPDK has kept the connection over a restart.
		got, err := spdkrpc.NotifyGetNotifications{ID: s.last.ID, Max: watchMost}.Do(ctx, d.client)
		if err != nil {
			if errdefs.ClassOf(err) == errdefs.Internal {
				d.log.Warn("notifications cannot be read", "err", err)
			}
			return news
		}
		switch {
		case s.begun && len(got) == 0:
			d.client.Disconnect(errors.New("notification ids have started again: the data plane has been restarted"))
			return false
		case s.begun && got[0] == s.last:
			got = got[1:]
		}
		if len(got) == 0 {
			return news
		}
		news = true
		s.last, s.begun = got[len(got)-1], true
		if len(got) < watchMost-1 {
			return news
		}
	}
}
