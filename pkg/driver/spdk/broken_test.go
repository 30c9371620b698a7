// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver/drivertest"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestBroken breaks every call of every operation, one at a time.
func TestBroken(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, drivertest.Suite{
		Remote: true, Crypto: true, Limits: true, Virtio: true, TLSKeys: true, TLS: true, PCIe: true, Broken: true,
		Only: []string{"Broken"},
		New: func(t *testing.T) *drivertest.DataPlane {
			t.Helper()
			plane := testkit.DataPlane(t, "--vhost-dir", testkit.SocketDir(t))
			behind := newProxy(t, plane.Socket())
			withVfioUser(behind)
			b := &breaker{proxy: newProxy(t, behind.socket), dirs: []string{
				filepath.Join(t.TempDir(), "keys"), filepath.Join(testkit.SocketDir(t), "vfio"),
			}}
			b.hook = b.broken
			return &drivertest.DataPlane{
				Driver: start(t, spdk.Config{
					Network: "unix", Address: b.socket, KeyDir: b.dirs[0], VfioUserDir: b.dirs[1],
					Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
				}),
				Dir: t.TempDir(), Breaker: b,
			}
		},
	})
}

// breaker is a proxy that breaks single calls.
type breaker struct {
	*proxy
	dirs []string

	mu   sync.Mutex
	next *breakage // guarded by mu
}

// breakage is one call that is to go wrong.
type breakage struct {
	left  int // calls until then; 0 when it has happened
	how   drivertest.Breakage
	hit   func()
	ended chan struct{}
	work  sync.WaitGroup
}

// Break implements [drivertest.Breaker].
func (b *breaker) Break(n int, how drivertest.Breakage, hit func()) (end func() bool) {
	next := &breakage{left: n, how: how, hit: hit, ended: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next = next
	return func() bool {
		b.mu.Lock()
		b.next = nil
		broken := next.left == 0
		b.mu.Unlock()
		close(next.ended)
		next.work.Wait()
		return broken
	}
}

// broken takes a call over if it is the one that is to go wrong, and reports whether it did.
func (b *breaker) broken(c *jsonrpc.Call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := b.next
	if next == nil || next.left == 0 || c.Method == "notify_get_notifications" {
		return false
	}
	if next.left--; next.left > 0 {
		return false
	}
	switch next.how {
	case drivertest.Refused:
		next.hit()
		c.Fail(-32603, "Internal error")
	case drivertest.Unsent:
		next.work.Go(func() { next.hit(); b.restart() })
	case drivertest.Lost:
		next.work.Go(func() { _, _ = b.pass(c); next.hit(); b.restart() })
	case drivertest.GivenUp:
		next.work.Go(func() {
			result, err := b.pass(c)
			next.hit()
			// What the driver does though its caller has gone gets its answer in the end.
			select {
			case <-next.ended:
			case <-time.After(100 * time.Millisecond):
			}
			if refusal, refused := errors.AsType[*jsonrpc.Error](err); refused {
				c.Fail(refusal.Code, refusal.Message)
			} else if err == nil {
				c.Reply(result)
			}
		})
	}
	return true
}

// pass makes a call and returns the answer.
func (b *breaker) pass(c *jsonrpc.Call) (result json.RawMessage, err error) {
	b.proxy.mu.Lock()
	behind := b.behind
	b.proxy.mu.Unlock()
	var params any
	if c.Params != nil {
		params = c.Params
	}
	err = behind.Call(context.Background(), c.Method, params, &result)
	return result, err
}

// Holds implements [drivertest.Breaker]. Transports stay for ever, whoever has made them.
func (b *breaker) Holds() ([]string, error) {
	var all []string
	for _, method := range []string{
		"bdev_get_bdevs", "nvmf_get_subsystems", "bdev_nvme_get_controllers", "accel_crypto_keys_get", "keyring_get_keys", "vhost_get_controllers",
	} {
		result, err := b.pass(&jsonrpc.Call{Method: method})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", method, err)
		}
		var elements []any
		if err := json.Unmarshal(result, &elements); err != nil {
			return nil, fmt.Errorf("%s: %w", method, err)
		}
		for _, e := range elements {
			text, err := json.Marshal(lasting(e))
			if err != nil {
				return nil, err
			}
			all = append(all, method+" "+string(text))
		}
	}
	for _, dir := range b.dirs {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, os.ErrNotExist):
				return nil
			case err == nil && path != dir:
				all = append(all, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	return all, nil
}

// lasting returns a value without what changes from one time to the next.
func lasting(v any) any {
	switch v := v.(type) {
	case map[string]any:
		// Besides what changes there is much that says nothing.
		for _, key := range []string{
			"cntlid", "state", "refcnt", "probed", "id", "sessions", "supported_io_types", "numa_id", "zoned", "claim_type", "aliases",
			"optimal_write_size", "preferred_unmap_alignment", "preferred_unmap_granularity", "preferred_write_alignment", "preferred_write_granularity",
		} {
			delete(v, key)
		}
		for key, of := range v {
			v[key] = lasting(of)
		}
	case []any:
		for i, of := range v {
			v[i] = lasting(of)
		}
	}
	return v
}
