// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// Engine is what this package needs of an engine. Errors are of package errdefs. Messages that go in
// become the engine's; messages that come out are not changed by the caller. All methods are safe
// for concurrent use.
type Engine interface {
	// Kinds returns the kinds that are served.
	Kinds() []*resource.Kind
	// Create makes the resource with that id below parent, which is "" at the top. An empty id asks
	// for a generated one. The name in msg is empty.
	Create(ctx context.Context, kind *resource.Kind, parent, id string, msg proto.Message) (proto.Message, error)
	// Update changes the fields that mask names: nil means those set in msg, "*" alone means all, and
	// an empty mask that is not nil means none.
	Update(ctx context.Context, kind *resource.Kind, name string, msg proto.Message, mask []string, allowMissing bool) (proto.Message, error)
	// Delete removes the resource; one that does not exist is NotFound unless allowMissing.
	Delete(ctx context.Context, kind *resource.Kind, name string, allowMissing bool) error
	// Get returns the resource.
	Get(ctx context.Context, kind *resource.Kind, name string) (proto.Message, error)
	// List returns up to limit resources below parent in the order of their names, from the first
	// whose name is greater than after, and whether there are more behind them.
	List(ctx context.Context, kind *resource.Kind, parent, after string, limit int) (items []proto.Message, more bool, err error)
	// Stats returns the I/O counters of the resource.
	Stats(ctx context.Context, kind *resource.Kind, name string) (driver.IOStats, error)
	// Reset resets the resource.
	Reset(ctx context.Context, kind *resource.Kind, name string) error
}
