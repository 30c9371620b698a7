// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// TestTLSSent pins the calls that carry TLS. The transport comes before the first key of a host, which
// would be lost without it.
func TestTLSSent(t *testing.T) {
	t.Parallel()
	p := between(t)
	withTLS(p)
	d := withKeys(t, p.socket, t.TempDir())
	sub, key := &driver.Subsystem{NQN: someNQN}, someKey("opi-bridge:host:s")
	host := &driver.Host{Subsystem: someNQN, NQN: someNQN + "-host", TLSKey: key.Name}
	for _, o := range []driver.Object{sub, key, host} {
		if err := do(t, d, driver.Create, o); err != nil {
			t.Fatal(err)
		}
	}
	var order []string
	for _, c := range p.calls("") {
		switch c.Method {
		case "nvmf_create_transport", "nvmf_subsystem_add_host":
			order = append(order, c.Method)
		}
	}
	if len(order) != 2 || order[0] != "nvmf_create_transport" {
		t.Errorf("order of calls: %v", order)
	}
	const psk = `"psk":"opi-bridge%3Ahost%3As"`
	if sent := string(p.calls("nvmf_subsystem_add_host")[0].Params); !strings.Contains(sent, psk) {
		t.Errorf("host: %s", sent)
	}
	secure := &driver.Listener{Subsystem: someNQN, Address: tcp, Secure: true}
	if err := do(t, d, driver.Create, secure); err != nil && !errors.Is(err, errdefs.FailedPrecondition) { // the port may be taken
		t.Error(err)
	}
	if sent := string(p.calls("nvmf_subsystem_add_listener")[0].Params); !strings.Contains(sent, `"secure_channel":true`) {
		t.Errorf("listener: %s", sent)
	}
	p.refuse("bdev_nvme_attach_controller", -5, "Input/output error")
	path := &driver.Path{Controller: "c", Address: tcp, SubsystemNQN: someNQN, TLSKey: key.Name}
	if err := do(t, d, driver.Create, path); !errors.Is(err, errdefs.Unavailable) {
		t.Error(err)
	}
	if sent := string(p.calls("bdev_nvme_attach_controller")[0].Params); !strings.Contains(sent, psk) {
		t.Errorf("path: %s", sent)
	}
}
