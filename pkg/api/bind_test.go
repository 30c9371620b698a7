// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"testing"

	"google.golang.org/grpc"

	"github.com/opi-bridge/opi-bridge/pkg/api"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// bare is an engine without kinds; none of its other methods can be reached.
type bare struct{ api.Reporter }

func (bare) Kinds() []*resource.Kind { return nil }

// Every RPC of every service has a handler, whether or not the engine has the kind.
func TestEveryMethodIsBound(t *testing.T) {
	t.Parallel()
	server := grpc.NewServer()
	if err := api.Register(server, bare{}); err != nil {
		t.Fatal(err)
	}
	if err := api.RegisterBridge(server, bare{}, nil); err != nil {
		t.Fatal(err)
	}
	api.RegisterInventory(server, "")
	bound := server.GetServiceInfo()
	methods := 0
	for _, service := range api.Services() {
		served := map[string]bool{}
		for _, m := range bound[string(service.FullName())].Methods {
			served[m.Name] = true
		}
		for i := range service.Methods().Len() {
			methods++
			if name := string(service.Methods().Get(i).Name()); !served[name] {
				t.Errorf("%s/%s is not served", service.FullName(), name)
			}
		}
	}
	if len(api.Services()) != 11 || methods != 87+1+5 {
		t.Errorf("the API has %d services and %d methods, want 11 and 93: storage, inventory and our own", len(api.Services()), methods)
	}
}
