// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
	bridgepb "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
	"github.com/opi-bridge/opi-bridge/tests/apitest"
)

// client is one that looks at what lasts.
type client struct{ apitest.Client }

func dial(t *testing.T, addr string) client {
	t.Helper()
	return client{apitest.Dial(t, addr)}
}

func (c client) remove(ctx context.Context, k *resource.Kind, name resource.Name) error {
	return c.Delete(ctx, k, name, true)
}

// content returns an error unless the bridge says that every resource is as it should be.
func (c client) content(ctx context.Context) error {
	list, err := bridgepb.NewBridgeServiceClient(c.Conn).ListResourceStatus(ctx, &bridgepb.ListResourceStatusRequest{NotReadyOnly: true})
	if err != nil {
		return err
	}
	for _, s := range list.GetResources() {
		return fmt.Errorf("%s is %s: %s", s.GetName(), s.GetState(), s.GetError())
	}
	return nil
}

// get returns the resource without what only the moment tells.
func (c client) get(ctx context.Context, k *resource.Kind, name resource.Name) (proto.Message, error) {
	m, err := c.Get(ctx, k, name)
	if err != nil {
		return nil, err
	}
	return lasting(m), nil
}

// lasting returns a copy of m without output-only fields, which change with the moment.
func lasting(m proto.Message) proto.Message {
	m = proto.Clone(m)
	name := resource.NameOf(m)
	resource.ClearOutputOnly(m)
	resource.SetName(m, name)
	return m
}
