// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// TestWithoutModules leaves out each module in turn: what goes with it is out of reach, and nothing
// else.
func TestWithoutModules(t *testing.T) {
	whole, _ := serveAs(t, func(*Config) {})
	for _, m := range modules() {
		t.Run(m.name, func(t *testing.T) {
			s, path := serveAs(t, func(c *Config) { c.Without = []string{m.name} })
			c := dial(t, path)
			var listed []string
			if err := json.Unmarshal(c.must("rpc_get_methods", "{}"), &listed); err != nil {
				t.Fatal(err)
			}
			gone := m.methods()
			if len(listed) != len(s.order) || len(listed) != len(whole.order)-len(gone) {
				t.Errorf("%d methods are listed, %d would be with it, and it has %d", len(listed), len(whole.order), len(gone))
			}
			for _, g := range gone {
				c.want(g.name, "{}", "-32601 Method not found")
			}
			subsystems := string(c.must("framework_get_subsystems", ""))
			for _, name := range m.subsystems {
				if strings.Contains(subsystems, `"`+name+`"`) {
					t.Errorf("subsystem %s is in %s", name, subsystems)
				}
				c.want("framework_get_config", `{"name":"`+name+`"}`, "-32602 Subsystem '"+name+"' not found")
			}
			c.must("bdev_get_bdevs", "{}")
		})
	}
}

// TestWithoutModulesThatShowInAnswers refuses what a build without them refuses.
func TestWithoutModulesThatShowInAnswers(t *testing.T) {
	_, path := serveAs(t, func(c *Config) { c.Without = []string{moduleTCP, moduleCrypto} })
	c := dial(t, path)
	c.want("nvmf_create_transport", `{"trtype":"tcp"}`, "-32602 Invalid transport type 'tcp'")
	c.want("accel_crypto_key_create", `{"cipher":"AES_XTS","key":"00112233445566778899aabbccddeeff","key2":"ffeeddccbbaa99887766554433221100","name":"k"}`,
		"-32602 failed to create DEK, rc -95")
	_, err := New(Config{
		Log: slog.New(slog.DiscardHandler), Kill: func(os.Signal) error { return nil }, Without: []string{"vhosts"},
	})
	if !errors.Is(err, errdefs.InvalidArgument) || !strings.Contains(err.Error(), "vhost]") {
		t.Errorf("a module that there is not: %v", err)
	}
}
