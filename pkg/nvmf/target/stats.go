// SPDX-License-Identifier: Apache-2.0

package target

import "sync/atomic"

// Stats counts queues and commands since the target was made, as nvmf_get_stats has them.
type Stats struct {
	// AdminQpairs and IOQpairs were connected so far, the Current ones are now.
	AdminQpairs, IOQpairs               uint64
	CurrentAdminQpairs, CurrentIOQpairs uint64
	// CurrentUnassociatedQpairs are connections before Connect.
	CurrentUnassociatedQpairs uint64
	// CompletedNVMeIO counts commands of I/O queues.
	CompletedNVMeIO uint64
}

// counters are the live form of Stats.
type counters struct {
	admin, io                               atomic.Uint64
	currentAdmin, currentIO, currentUnknown atomic.Int64
	completed                               atomic.Uint64
}

// Stats returns the counters now.
func (t *Target) Stats() Stats {
	c := &t.counters
	return Stats{
		AdminQpairs:               c.admin.Load(),
		IOQpairs:                  c.io.Load(),
		CurrentAdminQpairs:        uint64(max(c.currentAdmin.Load(), 0)),
		CurrentIOQpairs:           uint64(max(c.currentIO.Load(), 0)),
		CurrentUnassociatedQpairs: uint64(max(c.currentUnknown.Load(), 0)),
		CompletedNVMeIO:           c.completed.Load(),
	}
}
