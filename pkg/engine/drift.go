// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// Repairs are how often somebody else's changes to a resource's objects were taken back since the
// engine was started.
type Repairs struct {
	// Count is how many objects were repaired.
	Count uint64
	// Last is when that was the last time, and What what was done: "create namespace
	// nqn.2024-01.io.example:a 1". Zero when Count is.
	Last time.Time
	What string
}

// noteDrift notes what somebody else has changed: differences of settled resources in an epoch in
// which everything had been in place.
func (e *Engine) noteDrift(epoch uint64, jobs []job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, j := range jobs {
		if e.settledEpoch != epoch {
			j.en.drifted = false
			continue
		}
		if j.en.rec.State != resource.StateReady || j.en.problem != nil || j.en.reshaped || len(j.changes) == 0 && j.err == nil {
			continue
		}
		j.en.drifted = true
		for _, c := range j.changes {
			e.cfg.Log.Warn("drift found, repairing", "resource", j.en.rec.Name, "object", describe(c.key()), "remedy", c.remedy.String())
		}
		if j.err != nil && !errors.Is(j.err, errWaiting) && !errors.Is(j.err, errRebuild{}) {
			e.cfg.Log.Warn("drift found that cannot be repaired", "resource", j.en.rec.Name, "err", j.err)
		}
	}
}

// countRepair counts the changes of a job that have taken back somebody else's.
func (e *Engine) countRepair(j job, o outcome) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if o.err != nil || !j.en.drifted || len(j.changes) == 0 {
		return
	}
	r := e.repairs[j.en.rec.Name]
	for _, c := range j.changes {
		e.drift[c.key().Type]++
		r.Count++
		r.What = c.remedy.String() + " " + describe(c.key())
	}
	r.Last = e.cfg.Now()
	e.repairs[j.en.rec.Name] = r
}
