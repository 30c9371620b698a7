// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
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
		got, err := d.ask(ctx, s.last.ID)
		if err != nil {
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

// ask reads notifications. As SPDK answers this at once, it shows too whether anybody is alive there:
// if not, the connection is given up, so that everybody knows.
func (d *Driver) ask(ctx context.Context, from uint64) ([]spdkrpc.Notification, error) {
	waiting, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	got, err := spdkrpc.NotifyGetNotifications{ID: from, Max: watchMost}.Do(waiting, d.client)
	switch {
	case err == nil:
	case waiting.Err() != nil && ctx.Err() == nil:
		d.client.Disconnect(fmt.Errorf("the data plane has not answered for %v: %w", d.patience, err))
	case spdkrpc.Refusal(err) != nil:
		d.log.Warn("notifications cannot be read", "err", err)
	}
	return got, err
}
