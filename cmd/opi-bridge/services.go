// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"

	"google.golang.org/grpc"

	"github.com/opi-bridge/opi-bridge/pkg/api"
	"github.com/opi-bridge/opi-bridge/pkg/engine"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/server"
	"github.com/opi-bridge/opi-bridge/pkg/telemetry"
)

// services returns what registers everything that the bridge serves.
func services(s settings, eng *engine.Engine, lease *tenure, build telemetry.Build) func(grpc.ServiceRegistrar) error {
	facts := func() api.Facts {
		durability, reason := lease.state()
		return api.Facts{
			Ready:   ready(eng, lease)().Ready,
			Version: build.Version, Instance: s.instance, Durability: durability.Explanation, Lease: reason, HostNQN: s.hostNQN("/"),
		}
	}
	return func(r grpc.ServiceRegistrar) error {
		api.RegisterInventory(r, "")
		register := api.Register
		if s.compat != "" {
			register = api.RegisterCompat
		}
		return errors.Join(register(r, eng), api.RegisterBridge(r, eng, facts))
	}
}

// idCheck returns what ids of new resources must pass, nil for the API's own rule.
func (s *settings) idCheck() func(field, id string) error {
	if s.compat == "" {
		return nil
	}
	return resource.CheckShortID
}

// ready returns what /readyz and the health service say.
func ready(eng *engine.Engine, lease *tenure) func() server.Readiness {
	return func() server.Readiness {
		durability, reason := lease.state()
		return readiness(eng.Status(), reason, durability.Explanation)
	}
}
