// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/bdev/bdevtest"
)

// halves are the two halves of a key as parameters.
const halves = `"key":"00112233445566778899aabbccddeeff","key2":"ffeeddccbbaa99887766554433221100"`

// encrypted makes a key k, a base m and a crypto bdev c.
func (c *caller) encrypted() {
	c.Helper()
	c.must("accel_crypto_key_create", `{"name":"k","cipher":"AES_XTS",`+halves+`}`)
	c.must("bdev_malloc_create", `{"name":"m","block_size":512,"num_blocks":64}`)
	c.must("bdev_crypto_create", `{"name":"c","base_bdev_name":"m","key_name":"k"}`)
}

// want calls and compares what is said.
func (c *caller) want(method, params, answer string) {
	c.Helper()
	if got := said(c.call(method, params)); got != answer {
		c.Errorf("%s %s: %s, want %s", method, params, got, answer)
	}
}

// TestCryptoEncrypts: what is written to the crypto bdev cannot be read on its base.
func TestCryptoEncrypts(t *testing.T) {
	s, path := serve(t)
	dial(t, path).encrypted()
	plain := []byte(strings.Repeat("plain text. ", 43)[:512])
	block(t, s, "c", bdev.OpWrite, bytes.Clone(plain))
	above, below := make([]byte, 512), make([]byte, 512)
	block(t, s, "c", bdev.OpRead, above)
	block(t, s, "m", bdev.OpRead, below)
	if !bytes.Equal(above, plain) {
		t.Error("what was read is not what was written")
	}
	if bytes.Contains(below, []byte("plain")) || bytes.Equal(below, make([]byte, 512)) {
		t.Errorf("on the base: %q", below)
	}
}

// block reads or writes block 7 of a bdev.
func block(t *testing.T, s *Server, name string, op bdev.Op, data []byte) {
	t.Helper()
	d, err := s.bdevs.Open(name, op == bdev.OpWrite, bdev.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // it never fails
	if err := bdevtest.Do(t, d, op, 7, 1, data); err != nil {
		t.Fatal(err)
	}
}

// TestKeyDestroyedInUse: SPDK says yes and then breaks. We say yes and refuse what would break.
func TestKeyDestroyedInUse(t *testing.T) {
	_, path := serve(t)
	c := dial(t, path)
	c.encrypted()
	c.must("accel_crypto_key_destroy", `{"key_name":"k"}`)
	c.want("accel_crypto_keys_get", "", "[]")
	for _, params := range []string{"", `{"name":"c"}`, `{"name":"c","timeout":1000}`} {
		if a := c.call("bdev_get_bdevs", params); a.Error.Code != -32603 || !strings.Contains(a.Error.Message, "crypto bdev c") {
			t.Errorf("bdev_get_bdevs %s: %s", params, said(a))
		}
	}
	c.must("bdev_get_bdevs", `{"name":"m"}`)
	// A key of the same name is another key.
	c.must("accel_crypto_key_create", `{"name":"k","cipher":"AES_XTS",`+halves+`}`)
	if a := c.call("bdev_get_bdevs", ""); a.Error.Code == 0 {
		t.Error("another key of the same name heals the bdev")
	}
	c.must("bdev_crypto_delete", `{"name":"c"}`)
	c.must("bdev_get_bdevs", "")
	c.must("bdev_crypto_create", `{"name":"c","base_bdev_name":"m","key_name":"k"}`)
	c.must("bdev_get_bdevs", "")
}

// TestCrashLikeSPDK: asked to, the process dies where SPDK does.
func TestCrashLikeSPDK(t *testing.T) {
	var killed atomic.Value
	_, path := serveAs(t, func(cfg *Config) {
		cfg.CrashLikeSPDK = true
		cfg.Kill = func(sig os.Signal) error {
			killed.Store(sig)
			return nil
		}
	})
	c := dial(t, path)
	c.encrypted()
	c.must("accel_crypto_key_destroy", `{"key_name":"k"}`)
	c.send(`{"id":1,"method":"bdev_get_bdevs"}{"id":2,"method":"framework_wait_init"}`)
	if a := c.receive(); a.ID != 2.0 || killed.Load() != syscall.SIGKILL {
		t.Errorf("answer %v, signal %v: want no answer to the first call, and SIGKILL", a.ID, killed.Load())
	}
}

// TestInlineKey: a key that comes with the bdev goes with it, unless it was there before.
func TestInlineKey(t *testing.T) {
	_, path := serve(t)
	c := dial(t, path)
	c.must("bdev_malloc_create", `{"name":"m","block_size":512,"num_blocks":64}`)
	create := `{"name":"c","base_bdev_name":"m",` + halves + `}`
	names := func() string {
		var keys []accelKeyResult
		if err := json.Unmarshal(c.must("accel_crypto_keys_get", ""), &keys); err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, k := range keys {
			out = append(out, k.Name)
		}
		return strings.Join(out, " ")
	}
	c.must("bdev_crypto_create", create)
	if got := names(); got != "c_AES_XTS" {
		t.Errorf("keys %q", got)
	}
	// A second one of the name is refused and takes nothing along; one whose base is claimed takes its key.
	c.want("bdev_crypto_create", create, "-17 File exists")
	c.want("bdev_crypto_create", `{"name":"d","base_bdev_name":"m",`+halves+`}`, "-1 Operation not permitted")
	if got := names(); got != "c_AES_XTS" {
		t.Errorf("keys %q after creations that failed", got)
	}
	c.must("bdev_get_bdevs", "")
	c.must("bdev_crypto_delete", `{"name":"c"}`)
	if got := names(); got != "" {
		t.Errorf("keys %q after the bdev was deleted", got)
	}
	c.must("accel_crypto_key_create", `{"name":"c_AES_XTS","cipher":"AES_XTS",`+halves+`}`)
	c.must("bdev_crypto_create", create)
	c.must("bdev_crypto_delete", `{"name":"c"}`)
	if got := names(); got != "c_AES_XTS" {
		t.Errorf("keys %q: one that was there before goes with the bdev", got)
	}
	c.want("bdev_crypto_create", `{"name":"c2","base_bdev_name":"m","cipher":"AES_CBC",`+halves+`}`, "-32603 No key was found")
}

// TestCryptoDeletedByUUID: SPDK forgets the name only when the name is given.
func TestCryptoDeletedByUUID(t *testing.T) {
	s, path := serve(t)
	c := dial(t, path)
	c.encrypted()
	info, err := s.bdevs.Lookup("c")
	if err != nil {
		t.Fatal(err)
	}
	c.must("bdev_crypto_delete", `{"name":"`+info.UUID.String()+`"}`)
	c.want("bdev_crypto_create", `{"name":"c","base_bdev_name":"m","key_name":"k"}`, "-17 File exists")
	c.must("bdev_malloc_delete", `{"name":"m"}`)
	c.must("bdev_malloc_create", `{"name":"m","block_size":512,"num_blocks":64}`)
	c.must("bdev_get_bdevs", `{"name":"c"}`)
}

// TestKeysAreNotLogged: neither keys nor parameters reach the log, whatever goes wrong.
func TestKeysAreNotLogged(t *testing.T) {
	var log lockedLog
	_, path := serveAs(t, func(cfg *Config) { cfg.Log = log.logger() })
	c := dial(t, path)
	c.encrypted()
	c.call("accel_crypto_key_create", `{"name":"k","cipher":"AES_XTS",`+halves+`}`)
	c.call("accel_crypto_key_create", `{"name":"k2","cipher":"AES_XTS","key":"00112233445566778899aabbccddeeff","key2":"00112233445566778899aabbccddeeff"}`)
	c.call("accel_crypto_key_create", `{"name":"k3","cipher":"AES_XTS","key":"0011223344556677889_aabbccddeeff","key2":"ffeeddccbbaa99887766554433221100"}`)
	c.call("accel_crypto_key_create", `{"name":"k4","cipher":"AES_CBC",`+halves+`}`)
	c.call("bdev_crypto_create", `{"name":"c","base_bdev_name":"m",`+halves+`}`)
	c.must("accel_crypto_key_destroy", `{"key_name":"k"}`)
	c.call("bdev_get_bdevs", "")
	if text := log.String(); !strings.Contains(text, "key") || strings.Contains(text, "8899") || strings.Contains(text, "eedd") {
		t.Errorf("log:\n%s", text)
	}
}
