// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/secret"
)

func TestKeyDirectoryLiesBesideTheStore(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ store, keyDir, want string }{
		{"redis://127.0.0.1:6379/0", "", "/var/lib/opi-bridge/keys"},
		{"bolt:///srv/opi/state.db", "", "/srv/opi/keys"},
		{"bolt:///srv/opi/state.db?timeout=5s", "", "/srv/opi/keys"},
		{"bolt:///srv/opi/state.db", "/run/keys", "/run/keys"},
	} {
		s := settings{store: row.store, keyDir: row.keyDir}
		if got := s.keyDirectory(); got != row.want {
			t.Errorf("%s, --key-dir %q: %s, want %s", row.store, row.keyDir, got, row.want)
		}
	}
}

func TestSecretKeyFileIsMadeOnceAndKept(t *testing.T) {
	t.Parallel()
	if none, err := new(settings).sealer(); none != nil || err != nil {
		t.Errorf("without a file: %v, %v", none, err)
	}
	s := settings{secretKeyFile: filepath.Join(t.TempDir(), "new", "seal.key")}
	at := secret.Place{Document: "d", Field: "f"}
	first, err := s.sealer()
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.sealer()
	if err != nil {
		t.Fatal(err)
	}
	if v, err := again.Open(first.Seal(secret.FromString("x"), at), at); err != nil || v.RevealString() != "x" {
		t.Errorf("the second start cannot open what the first has sealed: %v", err)
	}
	if info, err := os.Stat(s.secretKeyFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Chmod(s.secretKeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.sealer(); !errors.Is(err, secret.ErrPermissions) {
		t.Errorf("a file that all can read: %v", err)
	}
}
