// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"testing"

	"google.golang.org/grpc"

	"github.com/opi-bridge/opi-bridge/pkg/api"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// bare is an engine without kinds; none of its other methods can be reached.
type bare struct{ api.Engine }

func (bare) Kinds() []*resource.Kind { return nil }

// Every RPC of every OPI storage service has a handler, whether or not the engine has the kind.
func TestEveryMethodIsBound(t *testing.T) {
	t.Parallel()
	server := grpc.NewServer()
	if err := api.Register(server, bare{}); err != nil {
		t.Fatal(err)
	}
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
	if len(api.Services()) != 9 || methods != 87 {
		t.Errorf("the API has %d services and %d methods, want 9 and 87", len(api.Services()), methods)
	}
}
