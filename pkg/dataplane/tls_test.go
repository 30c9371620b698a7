// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pskFile writes a key of that many equal bytes, and returns where.
func pskFile(t *testing.T, b byte, size int) string {
	t.Helper()
	raw := bytes.Repeat([]byte{b}, size)
	raw = binary.LittleEndian.AppendUint32(raw, crc32.ChecksumIEEE(raw))
	file := filepath.Join(t.TempDir(), "key")
	text := fmt.Appendf(nil, "NVMeTLSkey-1:%02d:%s:", max(size/16-1, 1), base64.StdEncoding.EncodeToString(raw))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const (
	someHost  = "nqn.2016-06.io.spdk:h"
	tlsClosed = "-5 Input/output error"
)

// TestTLS: with its key a host gets in and does I/O, without it or with another it does not; keys are
// listed with their users, and stay listed as removed as long as they have any.
func TestTLS(t *testing.T) {
	_, path := serve(t)
	c := dial(t, path)
	port := freePort(t)
	for name, file := range map[string]string{"k": pskFile(t, 1, 32), "other": pskFile(t, 2, 32), "long": pskFile(t, 3, 48), "bad": pskFile(t, 4, 0)} {
		c.must("keyring_file_add_key", fmt.Sprintf(`{"name":%q,"path":%q}`, name, file))
	}
	addHost := func(host, key string) string {
		return fmt.Sprintf(`{%s,"host":%q,%s}`, someSubsystem, host, key)
	}
	listener := fmt.Sprintf(`{%s,"listen_address":{"trtype":"TCP","adrfam":"IPv4","traddr":"127.0.0.1","trsvcid":%q},"secure_channel":true`, someSubsystem, port)
	c.must("nvmf_create_subsystem", "{"+someSubsystem+"}")
	// Before there is a transport nobody looks at the key: SPDK's trap.
	c.want("nvmf_subsystem_add_host", addHost(someHost, `"psk":"nokey"`), "true")
	c.must("nvmf_subsystem_remove_host", addHost(someHost, `"timeout_ms":0`))
	c.must("nvmf_create_transport", `{"trtype":"TCP"}`)
	c.must("bdev_malloc_create", `{"name":"m0","block_size":512,"num_blocks":2048}`)
	c.must("nvmf_subsystem_add_ns", "{"+someSubsystem+`,"namespace":{"bdev_name":"m0"}}`)
	for _, key := range []string{`"psk":"nokey"`, `"psk":"bad"`} {
		c.want("nvmf_subsystem_add_host", addHost(someHost, key), "-32603 Internal error")
	}
	c.want("nvmf_subsystem_add_host", addHost(someHost, `"dhchap_key":"k"`), "-32602 "+noDHCHAP)
	c.want("nvmf_subsystem_add_host", addHost(someHost, `"dhchap_key":"nokey"`), "-32602 Invalid parameters")
	c.want("nvmf_subsystem_add_listener", listener+`,"sock_impl":"posix"}`, "-32602 Invalid parameters")
	c.must("nvmf_subsystem_add_listener", listener+"}")
	c.must("nvmf_subsystem_add_host", addHost(someHost, `"psk":"k"`))
	c.must("nvmf_subsystem_add_host", addHost(someHost+"2", `"psk":"long"`))
	c.must("nvmf_subsystem_add_host", addHost(someHost+"3", `"timeout_ms":0`))

	from := func(host, key string) string { return attachTo(port, fmt.Sprintf(`,"hostnqn":%q%s`, host, key)) }
	for _, r := range []struct{ host, key, want string }{
		{someHost, "", tlsClosed},
		{someHost, `,"psk":"other"`, tlsClosed},
		{someHost + "2", `,"psk":"k"`, tlsClosed},
		{someHost + "3", `,"psk":"k"`, tlsClosed},
		{someHost, `,"psk":"nokey"`, "-126 Required key not available"},
		{someHost, `,"psk":"bad"`, "-19 No such device"},
		{someHost, `,"dhchap_key":"k"`, "-95 " + noDHCHAP},
		{someHost, `,"dhchap_ctrlr_key":"nokey"`, "-126 Required key not available"},
	} {
		c.want("bdev_nvme_attach_controller", from(r.host, r.key), r.want)
	}
	for host, key := range map[string]string{someHost: "k", someHost + "2": "long"} {
		c.must("bdev_nvme_attach_controller", from(host, fmt.Sprintf(`,"psk":%q`, key)))
		if keys := string(c.must("keyring_get_keys", "{}")); strings.Count(keys, `"refcnt":3`) != 1 {
			t.Errorf("keys with a host and a path that use one: %s", keys)
		}
		if cfg := string(c.must("framework_get_config", `{"name":"bdev"}`)); !strings.Contains(cfg, fmt.Sprintf(`"psk":%q`, key)) {
			t.Errorf("configuration: %s", cfg)
		}
		c.must("keyring_file_remove_key", fmt.Sprintf(`{"name":%q}`, key))
		if keys := string(c.must("keyring_get_keys", "{}")); !strings.Contains(keys, fmt.Sprintf(`{"name":%q,"module":"keyring_file","removed":true,"probed":false,"refcnt":2}`, key)) {
			t.Errorf("keys after the removal of one in use: %s", keys)
		}
		c.must("bdev_nvme_detach_controller", `{"name":"r"}`)
	}
	if cfg := string(c.must("framework_get_config", `{"name":"nvmf"}`)); strings.Count(cfg, `"secure_channel":true`) != 1 || !strings.Contains(cfg, `"psk":"long"`) {
		t.Errorf("configuration: %s", cfg)
	}
	// A host loses its connection with its place in the list.
	c.must("nvmf_subsystem_remove_host", addHost(someHost, `"timeout_ms":0`))
	c.want("bdev_nvme_attach_controller", from(someHost, `,"psk":"other"`), tlsClosed)
}
