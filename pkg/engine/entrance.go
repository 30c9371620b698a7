// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"slices"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// entranceWait is how long after a restart of the data plane an entrance stays shut because some of
// the disks behind it lack. It is longer than backends need to come back that are there, and shorter
// than hosts wait (Linux: 600 s) before they give up the disks that are there.
const entranceWait = 20 * time.Second

// barred parts the changes into those that can be made and the entrances through which hosts must not be
// let in yet, with the reason: not before everything is behind an entrance that hosts were promised. A host
// that came back too early would find disks gone, and fail the I/O that it holds for them, where one that
// finds the entrance shut goes on waiting. After entranceWait the disks that are there are not kept back for
// others any longer; without a single disk there is nothing to let hosts in for. Hold mu for reading.
func (e *Engine) barred(changes []change, coming coming, now time.Time) (free, shut []change, err error) {
	for _, c := range changes {
		entrance, ok := c.want.(driver.Entrance)
		if !ok || isOpen(c.have) {
			free = append(free, c)
			continue
		}
		lacking, disks := e.behind(entrance.LeadsTo(), coming)
		if lacking == "" || disks > 0 && now.Sub(e.epochSince) > e.cfg.EntranceWait {
			free = append(free, c)
			continue
		}
		shut = append(shut, c)
		err = errdefs.Wrap(errdefs.Unavailable, errWaiting,
			"hosts are not let in while %s lacks, so that they keep its disk", lacking)
	}
	return free, shut, err
}

// unbar takes those entrances back into their jobs that can be opened by now: what is behind them may need
// what the same jobs make. Hold mu for reading.
func (e *Engine) unbar(jobs []job, coming coming, now time.Time) {
	for i := range jobs {
		j := &jobs[i]
		var free []change
		free, j.shut, j.waits = e.barred(j.shut, coming, now)
		j.changes = append(j.changes, free...)
	}
}

// behind names a resource whose objects should be behind an entrance and are neither there nor surely
// coming, if there is one, and counts the disks that are. What was never acknowledged, or is on its way out,
// does not count. Hold mu for reading.
func (e *Engine) behind(key driver.Key, coming coming) (lacking resource.Name, disks int) {
	for name := range e.index.needers[key] {
		en := e.index.entries[name]
		if en == nil || en.rec.State != resource.StateReady && en.rec.State != resource.StateUpdating {
			continue
		}
		for _, o := range en.objects {
			if _, ok := o.(driver.Entrance); ok || !needs(o, key) {
				continue
			}
			switch {
			case e.world.objects[o.Key()] == nil && !coming[o.Key()]:
				if lacking == "" || name < lacking {
					lacking = name
				}
			case o.Key().Type == driver.TypeNamespace, o.Key().Type == driver.TypeVirtioScsiTarget:
				disks++
			}
		}
	}
	return lacking, disks
}

func isOpen(have driver.Object) bool {
	entrance, ok := have.(driver.Entrance)
	return ok && entrance.Open()
}

func needs(o driver.Object, key driver.Key) bool { return slices.Contains(o.Needs(), key) }
