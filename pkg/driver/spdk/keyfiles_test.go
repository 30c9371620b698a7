// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

const interchange = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:"

func someKey(name string) *driver.TLSKey {
	return &driver.TLSKey{Name: name, PSK: secret.FromString(interchange)}
}

// withKeys runs a driver with a directory for key files on the data plane at that socket.
func withKeys(t *testing.T, socket, dir string) *spdk.Driver {
	t.Helper()
	d := start(t, spdk.Config{
		Network: "unix", Address: socket, KeyDir: dir, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	testkit.Eventually(t, "connected", func() error { return d.Status().Err })
	return d
}

// files lists what is in a directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func observed(t *testing.T, d *spdk.Driver, o driver.Object) bool {
	t.Helper()
	all, err := d.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all.Objects[o.Key()] != nil
}

// TestKeyFiles follows the file of a key.
func TestKeyFiles(t *testing.T) {
	t.Parallel()
	plane := testkit.DataPlane(t)
	dir := filepath.Join(t.TempDir(), "deep", "keys")
	d := withKeys(t, plane.Socket(), dir)
	key := someKey("opi-bridge:path:c0")
	if err := do(t, d, driver.Create, key); err != nil {
		t.Fatal(err)
	}
	names := files(t, dir)
	if len(names) != 1 || strings.Contains(names[0], "path") || !strings.HasPrefix(names[0], "opi-bridge-psk-") {
		t.Fatalf("files %v", names)
	}
	path := filepath.Join(dir, names[0])
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != interchange {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	// Somebody removes the file: the key is missing until it is made again.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if observed(t, d, key) {
		t.Error("a key without its file is observed")
	}
	if err := do(t, d, driver.Create, key); err != nil {
		t.Error(err)
	}
	if !observed(t, d, key) || len(files(t, dir)) != 1 {
		t.Error("it did not come back")
	}
	if err := do(t, d, driver.Delete, key); err != nil {
		t.Error(err)
	}
	if left := files(t, dir); len(left) > 0 || observed(t, d, key) {
		t.Errorf("left: %v", left)
	}
}

// TestKeyFilesSwept: what a crash has left goes, what is used and what is not ours stays.
func TestKeyFilesSwept(t *testing.T) {
	t.Parallel()
	plane, other := testkit.DataPlane(t), testkit.DataPlane(t)
	dir := t.TempDir()
	d, elsewhere := withKeys(t, plane.Socket(), dir), withKeys(t, other.Socket(), dir)
	for _, step := range []struct {
		d *spdk.Driver
		k *driver.TLSKey
	}{{d, someKey("used")}, {elsewhere, someKey("elsewhere")}, {d, someKey("left")}} {
		if err := do(t, step.d, driver.Create, step.k); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "somebody's"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := caller(t, plane.Socket())
	if err := c.Call(t.Context(), "keyring_file_remove_key", map[string]string{"name": "left"}, nil); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 4 {
		t.Fatalf("files %v", got)
	}
	// While keys are written nothing is taken away.
	lock, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	withKeys(t, plane.Socket(), dir)
	if got := files(t, dir); len(got) != 4 {
		t.Errorf("files %v", got)
	}
	_ = lock.Close()
	again := withKeys(t, plane.Socket(), dir)
	if got := files(t, dir); len(got) != 3 {
		t.Errorf("files %v", got)
	}
	if !observed(t, again, someKey("used")) || !observed(t, elsewhere, someKey("elsewhere")) {
		t.Error("a key that is used has lost its file")
	}
	// The data plane has forgotten all of its keys.
	epoch := d.Status().Epoch
	plane.Restart()
	testkit.Eventually(t, "connected", func() error {
		if s := d.Status(); !s.Up || s.Epoch == epoch {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	// Several drivers look after the directory at the same time here; one of them does it.
	testkit.Eventually(t, "its files are gone", func() error {
		if got := files(t, dir); len(got) != 2 {
			return fmt.Errorf("files %v", got)
		}
		return nil
	})
}

// TestKeyRefused: whatever is in the way, no file stays, and the error says what to do.
func TestKeyRefused(t *testing.T) {
	t.Parallel()
	p := between(t)
	dir := t.TempDir()
	d, without := withKeys(t, p.socket, dir), connected(t, p)
	refused := func(d *spdk.Driver, class errdefs.Class, words string) {
		t.Helper()
		err := do(t, d, driver.Create, someKey("k"))
		if !errors.Is(err, class) || !strings.Contains(fmt.Sprint(err), words) || strings.Contains(fmt.Sprint(err), interchange[20:40]) {
			t.Errorf("%v", err)
		}
		if left := files(t, dir); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	refused(without, errdefs.FailedPrecondition, "--key-dir")
	for _, code := range []int{-1, -2, -13} {
		p.refuse("keyring_file_add_key", code, "no")
		refused(d, errdefs.FailedPrecondition, "same path")
	}
	p.rule("keyring_file_add_key", nil)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 { // root may write everywhere
		refused(d, errdefs.FailedPrecondition, dir)
	}
	p.rule("rpc_get_methods", func(c *jsonrpc.Call) { c.Reply([]string{"bdev_get_bdevs"}) })
	p.restart()
	testkit.Eventually(t, "the method is missed", func() error {
		if err := do(t, d, driver.Create, someKey("k")); !errors.Is(err, errdefs.Unimplemented) || !strings.Contains(err.Error(), "keyring_file_add_key") {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
}

// TestKeyPaths: before v24.05 a key is the path of its file.
func TestKeyPaths(t *testing.T) {
	t.Parallel()
	p := between(t)
	p.rule("spdk_get_version", func(c *jsonrpc.Call) {
		c.Reply(json.RawMessage(`{"version":"SPDK v24.01","fields":{"major":24,"minor":1,"patch":0,"suffix":""}}`))
	})
	p.rule("rpc_get_methods", func(c *jsonrpc.Call) {
		p.forward(c, func(result json.RawMessage) any {
			var all, some []string
			if err := json.Unmarshal(result, &all); err != nil {
				t.Error(err)
			}
			for _, m := range all {
				if !strings.HasPrefix(m, "keyring_") {
					some = append(some, m)
				}
			}
			return some
		})
	})
	var psk any
	take := func(c *jsonrpc.Call) {
		var params map[string]any
		_ = json.Unmarshal(c.Params, &params)
		psk = params["psk"]
		c.Fail(-5, "Input/output error")
	}
	p.rule("nvmf_subsystem_add_host", take)
	p.rule("bdev_nvme_attach_controller", take)
	dir := t.TempDir()
	d := withKeys(t, p.socket, dir)
	key := someKey("k")
	for range 2 { // as after a restart of the bridge, which has to write it again
		if err := do(t, d, driver.Create, key); err != nil {
			t.Fatal(err)
		}
	}
	if !observed(t, d, key) {
		t.Error("the key is not observed")
	}
	path := filepath.Join(dir, files(t, dir)[0])
	for _, o := range []driver.Object{
		&driver.Host{Subsystem: someNQN, NQN: someNQN, TLSKey: "k"},
		&driver.Path{Controller: "c", Address: tcp, SubsystemNQN: someNQN, TLSKey: "k"},
	} {
		psk = nil
		if err := do(t, d, driver.Create, o); err == nil || psk != path {
			t.Errorf("%s: psk %v, %v", o.Key(), psk, err)
		}
	}
	if n := len(p.calls("keyring_get_keys")) + len(p.calls("keyring_file_add_key")); n > 0 {
		t.Errorf("%d calls of a keyring that is not there", n)
	}
	if err := do(t, d, driver.Delete, key); err != nil || observed(t, d, key) || len(files(t, dir)) > 0 {
		t.Errorf("delete: %v, %v", err, files(t, dir))
	}
}
