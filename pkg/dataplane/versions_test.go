// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// playing runs a data plane of a version until the test ends.
func playing(t *testing.T, version string) (*Server, *caller) {
	t.Helper()
	s, path := serveAs(t, func(c *Config) { c.SPDKVersion = version })
	return s, dial(t, path)
}

// TestOffers holds every line of what came and went against all versions.
func TestOffers(t *testing.T) {
	for _, v := range spdkVersions() {
		t.Run(v.String(), func(t *testing.T) {
			s, _ := playing(t, v.String())
			for _, o := range offers() {
				m, has := s.methods[o.method]
				if o.param != "" {
					has = has && knows(m.plan, o.param)
				} else if listed := slices.Contains(s.order, o.method); listed != has {
					t.Errorf("%s is listed: %t, and called: %t", o.method, listed, has)
				}
				if has != o.in(v) {
					t.Errorf("%s %s: offered %t, want %t", o.method, o.param, has, o.in(v))
				}
			}
		})
	}
	// That a line means what it says, once by its text.
	for version, want := range map[string]bool{"24.01": false, "24.05": true, "26.09": true} {
		if s, _ := playing(t, version); (s.methods["keyring_get_keys"] != nil) != want {
			t.Errorf("v%s has keyring_get_keys: %t", version, !want)
		}
	}
}

func knows(p *plan, param string) bool {
	name, nested, isNested := strings.Cut(param, ".")
	i, ok := p.byName[name]
	if ok && isNested {
		return knows(p.fields[i].nested, nested)
	}
	return ok && p.fields[i].name == name
}

// said is an answer as text: the result, or code and message.
func said(a answer) string {
	if a.Error.Code != 0 {
		return fmt.Sprint(a.Error.Code, " ", a.Error.Message)
	}
	return string(a.Result)
}

// has says whether a result has a member of that name, as text.
func has(result json.RawMessage, member string) string {
	return fmt.Sprint(strings.Contains(string(result), `"`+member+`":`))
}

const someSubsystem = `"nqn":"nqn.2016-06.io.spdk:cnode1"`

// target makes a subsystem with a bdev, listens and attaches to it from the same process.
func (c *caller) target(create string) {
	c.Helper()
	port := freePort(c)
	c.must("nvmf_create_transport", `{"trtype":"TCP"}`)
	c.must("nvmf_create_subsystem", "{"+someSubsystem+`,"allow_any_host":true}`)
	c.must(create, `{"name":"d","block_size":512,"num_blocks":64}`)
	c.must("nvmf_subsystem_add_ns", "{"+someSubsystem+`,"namespace":{"bdev_name":"d","nguid":"0123456789ABCDEF0123456789ABCDEF"}}`) // not the uuid of d, which is in this process too
	c.must("nvmf_subsystem_add_listener", listenOn(port))
	c.must("bdev_nvme_attach_controller", attachTo(port, ""))
}

func listenOn(port string) string {
	return fmt.Sprintf(`{%s,"listen_address":{"trtype":"TCP","adrfam":"IPv4","traddr":"127.0.0.1","trsvcid":%q}}`, someSubsystem, port)
}

func attachTo(port, more string) string {
	return fmt.Sprintf(`{"name":"r","trtype":"TCP","adrfam":"IPv4","traddr":"127.0.0.1","trsvcid":%q,`+
		`"subnqn":"nqn.2016-06.io.spdk:cnode1"%s}`, port, more)
}

// TestManners compares, for every other difference, the last version before it with the first after.
func TestManners(t *testing.T) {
	file := pskFile(t, 1, 32)
	addKnown := func(c *caller, psk string) string {
		c.must("nvmf_create_transport", `{"trtype":"TCP"}`)
		c.must("nvmf_create_subsystem", "{"+someSubsystem+"}")
		c.call("keyring_file_add_key", fmt.Sprintf(`{"name":"k","path":%q}`, file))
		return said(c.call("nvmf_subsystem_add_host", fmt.Sprintf(`{%s,"host":"nqn.2016-06.io.spdk:h","psk":%q}`, someSubsystem, psk)))
	}
	for _, tc := range []struct {
		name, before, after string
		do                  func(c *caller) string
		wantBefore, want    string
	}{
		{
			"version", "24.09", "26.09",
			func(c *caller) string {
				var v versionResult
				if err := json.Unmarshal(c.must("spdk_get_version", ""), &v); err != nil {
					c.Fatal(err)
				}
				return fmt.Sprint(v.Fields, strings.Contains(v.Version, "(SPDK v24.09 JSON-RPC)"), strings.Contains(v.Version, "(SPDK v26.09-pre JSON-RPC)"))
			}, "{24 9 0 } true false", "{26 9 0 -pre} false true",
		},
		{
			"a psk is the path of a file", "24.05", "24.09",
			func(c *caller) string { return addKnown(c, file) }, "true", "-32603 Internal error",
		},
		{
			"a psk is the name of a key", "24.01", "24.05",
			func(c *caller) string { return addKnown(c, "k") }, "-32603 Internal error", "true",
		},
		{
			"a host twice", "24.05", "24.09",
			func(c *caller) string {
				c.must("nvmf_create_subsystem", "{"+someSubsystem+"}")
				c.must("nvmf_subsystem_add_host", "{"+someSubsystem+`,"host":"nqn.2016-06.io.spdk:h"}`)
				return said(c.call("nvmf_subsystem_add_host", "{"+someSubsystem+`,"host":"nqn.2016-06.io.spdk:h"}`))
			}, "true", "-32603 Internal error",
		},
		{
			"default mode of attach", "25.01", "25.05",
			func(c *caller) string {
				c.target("bdev_malloc_create")
				port := freePort(c)
				c.must("nvmf_subsystem_add_listener", listenOn(port))
				return said(c.call("bdev_nvme_attach_controller", attachTo(port, `,"multipath":"failover"`)))
			}, "[]", "-22 Invalid argument",
		},
		{
			"limits of an idle bdev", "25.05", "25.09",
			func(c *caller) string {
				c.must("bdev_malloc_create", `{"name":"d","block_size":512,"num_blocks":64}`)
				c.must("bdev_set_qos_limit", `{"name":"d","rw_ios_per_sec":1000}`)
				return said(c.call("bdev_set_qos_limit", `{"name":"d","rw_ios_per_sec":2000}`))
			}, "true", "-32602 Failed to configure rate limit: Resource temporarily unavailable",
		},
		{
			"preferred sizes", "25.05", "25.09",
			func(c *caller) string {
				c.must("bdev_malloc_create", `{"name":"d","block_size":512,"num_blocks":64}`)
				result := c.must("bdev_get_bdevs", "")
				return has(result, "optimal_write_size") + has(result, "preferred_unmap_granularity") + has(result, "uuid")
			}, "falsefalsetrue", "truetruetrue",
		},
		{
			"type of controllers", "25.05", "25.09",
			func(c *caller) string {
				c.target("bdev_malloc_create")
				result := c.must("nvmf_subsystem_get_controllers", "{"+someSubsystem+"}")
				return has(result, "cntrltype") + has(result, "cntlid")
			}, "falsetrue", "truetrue",
		},
		{
			"batches", "26.01", "26.05",
			func(c *caller) string {
				c.send(`[{"id":1,"method":"framework_wait_init"}]`)
				var raw json.RawMessage
				if err := c.answers.Decode(&raw); err != nil {
					c.Fatal(err)
				}
				return string(raw)
			},
			`{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid request"}}`,
			`[{"jsonrpc":"2.0","id":1,"result":true}]`,
		},
		{
			"requests of 40 KiB", "26.01", "26.05",
			func(c *caller) string { return taken(c, strings.Repeat(" ", 40<<10)) }, "false", "true",
		},
		{
			"requests of 2,000 values", "26.01", "26.05",
			func(c *caller) string { return taken(c, "["+strings.Repeat("1,", 2000)+"1]") }, "false", "true",
		},
		{
			"statistics by name", "25.09", "26.05",
			func(c *caller) string {
				c.must("bdev_malloc_create", `{"name":"d","block_size":512,"num_blocks":64}`)
				one := c.call("bdev_get_iostat", `{"name":"d"}`)
				several := c.call("bdev_get_iostat", `{"names":["d"]}`)
				return fmt.Sprint(one.Error.Code, " ", several.Error.Code)
			}, "0 -32603", "-32603 0",
		},
		{
			"one listener too much", "25.09", "26.01",
			func(c *caller) string {
				c.target("bdev_malloc_create")
				port := freePort(c)
				c.must("nvmf_subsystem_add_listener", listenOn(port))
				return said(c.call("nvmf_subsystem_remove_listener", strings.TrimSuffix(listenOn(port), "}")+`,"secure_channel":false,"ana_state":"optimized"}`))
			}, "true", "-32602 Invalid parameters",
		},
		{
			"a write cache that comes late", "26.05", "26.09",
			func(c *caller) string {
				c.target("bdev_null_create")
				c.must("bdev_malloc_create", `{"name":"m","block_size":512,"num_blocks":64}`)
				return said(c.call("nvmf_subsystem_add_ns", "{"+someSubsystem+`,"namespace":{"bdev_name":"m"}}`))
			}, "2", "-32602 Invalid parameters",
		},
		{
			"an unknown subsystem", "26.05", "26.09",
			func(c *caller) string {
				return said(c.call("nvmf_subsystem_allow_any_host", "{"+someSubsystem+`,"allow_any_host":true}`)) + "; " +
					said(c.call("nvmf_get_subsystems", "{"+someSubsystem+"}"))
			},
			"-32602 Invalid parameters; -19 No such device",
			"-32602 Subsystem with NQN 'nqn.2016-06.io.spdk:cnode1' not found; -32602 Subsystem with NQN 'nqn.2016-06.io.spdk:cnode1' not found",
		},
		{
			"largest discard and write of zeroes", "26.05", "26.09",
			func(c *caller) string {
				c.call("nvmf_create_subsystem", "{"+someSubsystem+`,"max_discard_size_kib":1024,"max_write_zeroes_size_kib":256}`)
				a := c.call("nvmf_get_subsystems", "{"+someSubsystem+"}")
				if a.Error.Code != 0 {
					return said(a)
				}
				return fmt.Sprint(strings.Contains(string(a.Result), `"dmrsl":2048,"wzsl":6,`))
			}, "true", "-32602 Subsystem with NQN 'nqn.2016-06.io.spdk:cnode1' not found",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for version, want := range map[string]string{tc.before: tc.wantBefore, tc.after: tc.want} {
				_, c := playing(t, version)
				if got := tc.do(c); got != want {
					t.Errorf("v%s: %s, want %s", version, got, want)
				}
			}
		})
	}
}

// taken says whether a request with that in its parameters is answered, or the connection closed.
func taken(c *caller, params string) string {
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	_, err := c.conn.Write([]byte(`{"id":1,"method":"keyring_get_keys","params":[` + params + `]}`))
	if err == nil {
		var a answer
		err = c.answers.Decode(&a)
	}
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		c.Fatal(err)
	}
	return fmt.Sprint(err == nil)
}

func TestUnknownVersion(t *testing.T) {
	for _, version := range []string{"24.02", "23.09", "26.9", "v24.09", "latest"} {
		_, err := New(Config{Log: slog.New(slog.DiscardHandler), Kill: func(os.Signal) error { return nil }, SPDKVersion: version})
		if !errors.Is(err, errdefs.InvalidArgument) || !strings.Contains(err.Error(), "24.01") {
			t.Errorf("version %q: %v", version, err)
		}
	}
}
