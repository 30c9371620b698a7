// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestParseEndpoint(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		text string
		want endpoint
	}{
		{"unix:///var/tmp/spdk.sock", endpoint{"unix", "/var/tmp/spdk.sock"}},
		{"tcp://127.0.0.1:5260", endpoint{"tcp", "127.0.0.1:5260"}},
		{"tcp://[::1]:5260", endpoint{"tcp", "[::1]:5260"}},
		{"unix://var/tmp/spdk.sock", endpoint{}},
		{"unix:///" + strings.Repeat("x", maxSocketPath), endpoint{}},
		{"tcp://127.0.0.1", endpoint{}},
		{"tcp://127.0.0.1:5260/x", endpoint{}},
		{"/var/tmp/spdk.sock", endpoint{}},
		{"http://127.0.0.1:80", endpoint{}},
		{"", endpoint{}},
		{"unix://%zz", endpoint{}},
	} {
		got, err := parseEndpoint(row.text)
		if got != row.want || (err == nil) != (row.want != endpoint{}) {
			t.Errorf("%q: %v, %v; want %v", row.text, got, err, row.want)
		}
		if err != nil && !strings.Contains(err.Error(), "--rpc-listen") {
			t.Errorf("%q: %v does not name the flag", row.text, err)
		}
	}
}

// TestListenReplacesOnlyWhatIsStale: a socket that a killed process left is replaced, one that is
// being served and a file of another kind are refused by name.
func TestListenReplacesOnlyWhatIsStale(t *testing.T) {
	t.Parallel()
	at := endpoint{"unix", filepath.Join(t.TempDir(), "rpc.sock")}
	stale, err := (&net.ListenConfig{}).Listen(t.Context(), at.network, at.address)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false) //nolint:forcetypeassert // a unix listener
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}

	l, cleanup, err := at.listen(t.Context())
	if err != nil {
		t.Fatalf("a stale socket is not replaced: %v", err)
	}
	if _, _, err := at.listen(t.Context()); !errors.Is(err, syscall.EWOULDBLOCK) || !strings.Contains(err.Error(), at.address) {
		t.Errorf("a second server on the same socket: %v", err)
	}
	if err := errors.Join(l.Close(), cleanup()); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(at.address + "*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}

	if err := os.WriteFile(at.address, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := at.listen(t.Context()); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file in the way: %v", err)
	}
	if got, err := os.ReadFile(at.address); err != nil || string(got) != "precious" {
		t.Errorf("the file in the way has been touched: %q, %v", got, err)
	}
}

func TestExitStatus(t *testing.T) {
	for _, row := range []struct {
		args []string
		want int
	}{
		{[]string{"serve", "--no-such-flag"}, exitUsage},
		{[]string{"serve", "more"}, exitUsage},
		{[]string{"serve", "--rpc-listen", "nowhere"}, exitUsage},
		{[]string{"serve", "--log-level", "loud"}, exitUsage},
		{[]string{"serve", "--log-format", "xml"}, exitUsage},
		{[]string{"no-such-command"}, exitUsage},
		{[]string{"serve", "--rpc-listen", "unix:///no/such/directory/rpc.sock"}, exitFailed},
		{[]string{"--version"}, 0},
	} {
		if got := run(t.Context(), row.args); got != row.want {
			t.Errorf("%q: exit status %d, want %d", row.args, got, row.want)
		}
	}
}
