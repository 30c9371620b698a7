// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/opi-bridge/opi-bridge/pkg/engine"
	"github.com/opi-bridge/opi-bridge/pkg/server"
)

// readiness puts the state of engine and lease into the words of /readyz.
func readiness(s engine.Status, lease error, durability string) server.Readiness {
	dataPlane := server.Part{Name: "data plane", Ready: s.DataPlane.Up, Detail: s.DataPlane.Version}
	switch {
	case !s.DataPlane.Up && s.DataPlane.Err != nil:
		dataPlane.Detail = s.DataPlane.Err.Error()
	case !s.DataPlane.Up:
		dataPlane.Detail = "no connection yet"
	case s.PassErr != nil:
		dataPlane.Ready = s.Settled
		dataPlane.Detail = "there, but it cannot be compared with the records: " + s.PassErr.Error()
	case s.Loaded && !s.Settled:
		dataPlane.Ready = false
		dataPlane.Detail = "there, what it held is being put back"
	}
	records := server.Part{Name: "store", Ready: s.Loaded && s.StoreErr == nil, Detail: durability}
	switch {
	case s.StoreErr != nil:
		records.Detail = s.StoreErr.Error()
	case !s.Loaded:
		records.Detail = "records have not been read yet"
	}
	held := server.Part{Name: "lease", Ready: lease == nil, Detail: "held by this bridge"}
	if lease != nil {
		held.Detail = lease.Error()
	}
	r := server.Readiness{Parts: []server.Part{dataPlane, records, held}, Ready: true, Resources: map[string]int{}}
	for _, p := range r.Parts {
		r.Ready = r.Ready && p.Ready
	}
	for state, n := range s.Resources {
		r.Resources[string(state)] = n
	}
	for _, p := range s.NotReady {
		w := server.Waiting{Name: string(p.Name), Reason: "is being worked on"}
		if p.Err != nil {
			w.Reason = p.Err.Error()
		}
		r.NotReady = append(r.NotReady, w)
	}
	if more := s.NotReadyCount - len(s.NotReady); more > 0 && len(s.NotReady) > 0 {
		r.NotReady = append(r.NotReady, server.Waiting{Name: fmt.Sprintf("and %d more", more)})
	}
	return r
}
