// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestKeysThatCannotBeUsed: what exists and would need TLS or DH-HMAC-CHAP is refused by name; what
// does not exist is answered as SPDK answers it.
func TestKeysThatCannotBeUsed(t *testing.T) {
	_, path := serve(t)
	c := dial(t, path)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.must("keyring_file_add_key", fmt.Sprintf(`{"name":"k","path":%q}`, file))
	c.must("nvmf_create_subsystem", "{"+someSubsystem+"}")
	addHost := func(key string) string { return "{" + someSubsystem + `,"host":"nqn.2016-06.io.spdk:h",` + key + "}" }

	// Before there is a transport nobody looks at the key: SPDK's trap.
	c.want("nvmf_subsystem_add_host", addHost(`"psk":"k"`), "true")
	c.must("nvmf_subsystem_remove_host", "{"+someSubsystem+`,"host":"nqn.2016-06.io.spdk:h"}`)
	c.must("nvmf_create_transport", `{"trtype":"TCP"}`)
	c.want("nvmf_subsystem_add_host", addHost(`"psk":"k"`), "-32603 "+noTLS)
	c.want("nvmf_subsystem_add_host", addHost(`"psk":"nokey"`), "-32603 Internal error")
	c.want("nvmf_subsystem_add_host", addHost(`"dhchap_key":"k"`), "-32602 "+noDHCHAP)
	c.want("nvmf_subsystem_add_host", addHost(`"dhchap_key":"nokey"`), "-32602 Invalid parameters")
	c.want("nvmf_subsystem_add_listener", `{`+someSubsystem+`,"listen_address":{"trtype":"TCP","adrfam":"IPv4","traddr":"127.0.0.1","trsvcid":"4420"},"secure_channel":true}`,
		"-32602 secure_channel cannot be used: opi-dataplane has no TLS with pre-shared keys")
	for key, want := range map[string]string{
		`,"psk":"k"`: "-95 " + noTLS, `,"psk":"nokey"`: "-126 Required key not available",
		`,"dhchap_key":"k"`: "-95 " + noDHCHAP, `,"dhchap_ctrlr_key":"nokey"`: "-126 Required key not available",
	} {
		c.want("bdev_nvme_attach_controller", attachTo("4420", key), want)
	}
}
