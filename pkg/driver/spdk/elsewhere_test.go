// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver/drivertest"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// What opi-dataplane does not have (TLS, vfio-user) is added to it here, by a proxy that keeps the
// books as SPDK does. The calls that carry these are pinned besides.

// TestDriverTLS runs the suite's part about TLS.
func TestDriverTLS(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, drivertest.Suite{
		TLS: true, Only: []string{"TLS"},
		New: func(t *testing.T) *drivertest.DataPlane {
			t.Helper()
			p := between(t)
			withTLS(p)
			return &drivertest.DataPlane{Driver: start(t, spdk.Config{
				Network: "unix", Address: p.socket, KeyDir: filepath.Join(t.TempDir(), "keys"),
				Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
			})}
		},
	})
}

// withTLS takes keys of hosts and of listeners: the keyring counts who uses a key.
func withTLS(p *proxy) {
	type host struct{ NQN, Host string }
	var (
		mu   sync.Mutex
		uses = map[host]string{} // key by host; guarded by mu
	)
	known := func(name string) bool {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range p.calls("keyring_file_add_key") {
			var added struct{ Name string }
			if json.Unmarshal(c.Params, &added) == nil && added.Name == name {
				return true
			}
		}
		return false
	}
	p.rule("nvmf_subsystem_add_host", func(c *jsonrpc.Call) {
		var params map[string]any
		var who host
		if json.Unmarshal(c.Params, &params) != nil || json.Unmarshal(c.Params, &who) != nil {
			return
		}
		key, _ := params["psk"].(string)
		if key != "" && !known(key) {
			c.Fail(-32603, "Internal error")
			return
		}
		delete(params, "psk")
		c.Params = encoded(p.t, params)
		p.forward(c, func(result json.RawMessage) any {
			mu.Lock()
			defer mu.Unlock()
			if key != "" {
				uses[who] = key
			}
			return result
		})
	})
	p.rule("nvmf_subsystem_remove_host", func(c *jsonrpc.Call) {
		var who host
		_ = json.Unmarshal(c.Params, &who)
		p.forward(c, func(result json.RawMessage) any {
			mu.Lock()
			defer mu.Unlock()
			delete(uses, who)
			return result
		})
	})
	p.rule("keyring_get_keys", func(c *jsonrpc.Call) {
		p.forward(c, func(result json.RawMessage) any {
			mu.Lock()
			defer mu.Unlock()
			var keys []map[string]any
			if err := json.Unmarshal(result, &keys); err != nil {
				p.t.Error(err)
			}
			for _, k := range keys {
				refcnt := 1
				for _, name := range uses {
					if name == k["name"] {
						refcnt++
					}
				}
				k["refcnt"] = refcnt
			}
			return keys
		})
	})
	p.rule("nvmf_subsystem_add_listener", func(c *jsonrpc.Call) {
		var params map[string]any
		if json.Unmarshal(c.Params, &params) != nil {
			return
		}
		anyHost, _ := p.subsystem(params["nqn"])["allow_any_host"].(bool)
		if secure, _ := params["secure_channel"].(bool); secure && !anyHost {
			delete(params, "secure_channel")
			c.Params = encoded(p.t, params)
		}
		p.forward(c, nil)
	})
}

// subsystem returns what the data plane tells of a subsystem.
func (p *proxy) subsystem(nqn any) map[string]any {
	p.mu.Lock()
	behind := p.behind
	p.mu.Unlock()
	var all []map[string]any
	if err := behind.Call(context.Background(), "nvmf_get_subsystems", map[string]any{"nqn": nqn}, &all); err != nil || len(all) == 0 {
		return nil
	}
	return all[0]
}

func encoded(t *testing.T, v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		t.Error(err)
	}
	return raw
}

// TestDriverPCIe runs the suite's part about PCIe endpoints.
func TestDriverPCIe(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, drivertest.Suite{
		PCIe: true, Only: []string{"PCIe"},
		New: func(t *testing.T) *drivertest.DataPlane {
			t.Helper()
			plane := testkit.DataPlane(t)
			p := newProxy(t, plane.Socket())
			v := withVfioUser(p)
			return &drivertest.DataPlane{
				Driver: start(t, spdk.Config{
					Network: "unix", Address: p.socket, VfioUserDir: filepath.Join(testkit.SocketDir(t), "vfio"),
					Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
				}),
				Kill: func() {
					p.stopNow()
					plane.Kill()
					v.die()
				},
				Start: func() {
					plane.Start()
					p.connect(plane.Socket())
					p.start()
				},
			}
		},
	})
}

// stopNow breaks all connections.
func (p *proxy) stopNow() {
	p.mu.Lock()
	stop := p.stop
	p.mu.Unlock()
	stop()
}

// vfioUser keeps the listeners that opi-dataplane has no transport for.
type vfioUser struct {
	p *proxy

	mu      sync.Mutex
	made    bool                        // the transport; guarded by mu
	spoiled map[string]bool             // directories that cannot be used any more; guarded by mu
	sockets map[string]net.Listener     // by directory; guarded by mu
	at      map[string][]map[string]any // addresses by subsystem; guarded by mu
}

func withVfioUser(p *proxy) *vfioUser {
	v := &vfioUser{p: p, spoiled: map[string]bool{}, sockets: map[string]net.Listener{}, at: map[string][]map[string]any{}}
	p.t.Cleanup(v.die)
	p.rule("nvmf_create_transport", func(c *jsonrpc.Call) {
		v.mu.Lock()
		defer v.mu.Unlock()
		var params struct{ Trtype string }
		if json.Unmarshal(c.Params, &params) != nil || params.Trtype != "VFIOUSER" {
			p.forward(c, nil)
			return
		}
		v.made = true
		c.Reply(true)
	})
	p.rule("nvmf_subsystem_add_listener", v.listen)
	p.rule("nvmf_subsystem_remove_listener", v.unlisten)
	p.rule("nvmf_delete_subsystem", func(c *jsonrpc.Call) {
		var params struct{ NQN string }
		_ = json.Unmarshal(c.Params, &params)
		v.mu.Lock()
		defer v.mu.Unlock()
		for _, a := range v.at[params.NQN] {
			v.close(a["traddr"])
		}
		delete(v.at, params.NQN)
		p.forward(c, nil)
	})
	p.rule("nvmf_get_subsystems", func(c *jsonrpc.Call) {
		p.forward(c, func(result json.RawMessage) any {
			v.mu.Lock()
			defer v.mu.Unlock()
			var all []map[string]any
			if err := json.Unmarshal(result, &all); err != nil {
				p.t.Error(err)
			}
			for _, s := range all {
				nqn, _ := s["nqn"].(string)
				there, _ := s["listen_addresses"].([]any)
				for _, a := range v.at[nqn] {
					there = append(there, a)
				}
				s["listen_addresses"] = there
			}
			return all
		})
	})
	return v
}

type listen struct {
	NQN    string
	Listen map[string]any `json:"listen_address"`
}

func (v *vfioUser) listen(c *jsonrpc.Call) {
	var params listen
	if json.Unmarshal(c.Params, &params) != nil || params.Listen["trtype"] != "VFIOUSER" {
		v.p.forward(c, nil)
		return
	}
	known := v.p.subsystem(params.NQN) != nil
	v.mu.Lock()
	defer v.mu.Unlock()
	dir, _ := params.Listen["traddr"].(string)
	if params.Listen["adrfam"] != nil {
		v.spoiled[dir] = true
	}
	if !known {
		c.Fail(-32602, "Subsystem with NQN '"+params.NQN+"' not found")
		return
	}
	info, err := os.Stat(dir)
	if !v.made || v.spoiled[dir] || err != nil || info.Mode().Perm() != 0o700 || v.sockets[dir] != nil {
		c.Fail(-32602, "Invalid parameters")
		return
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", filepath.Join(dir, "cntrl"))
	if err != nil {
		c.Fail(-32602, "Invalid parameters")
		return
	}
	if unix, ok := l.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false) // as when SPDK is killed
	}
	v.sockets[dir] = l
	v.at[params.NQN] = append(v.at[params.NQN], map[string]any{"trtype": "VFIOUSER", "adrfam": "unknown", "traddr": dir, "trsvcid": ""})
	c.Reply(true)
}

func (v *vfioUser) unlisten(c *jsonrpc.Call) {
	var params listen
	if json.Unmarshal(c.Params, &params) != nil || params.Listen["trtype"] != "VFIOUSER" {
		v.p.forward(c, nil)
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, a := range v.at[params.NQN] {
		if a["traddr"] == params.Listen["traddr"] {
			v.at[params.NQN] = slices.Delete(v.at[params.NQN], i, i+1)
			v.close(a["traddr"])
			c.Reply(true)
			return
		}
	}
	c.Fail(-32602, "Invalid parameters")
}

// close ends an endpoint in order. It is called with mu held.
func (v *vfioUser) close(traddr any) {
	dir, _ := traddr.(string)
	if l := v.sockets[dir]; l != nil {
		_ = l.Close()
		_ = os.Remove(filepath.Join(dir, "cntrl"))
		delete(v.sockets, dir)
	}
}

// die forgets everything and leaves the sockets where they are.
func (v *vfioUser) die() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range v.sockets {
		_ = l.Close()
	}
	clear(v.sockets)
	clear(v.at)
	clear(v.spoiled)
	v.made = false
}
