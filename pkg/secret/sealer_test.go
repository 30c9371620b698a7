// SPDX-License-Identifier: Apache-2.0

package secret_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/secret"
)

func TestSealAndOpen(t *testing.T) {
	s := sealer(t, secret.NewKey())
	at := secret.Place{Document: "nvmeRemoteControllers/c0", Field: "psk"}
	for _, text := range []string{"", "x", plain, strings.Repeat("long ", 10_000)} {
		sealed := s.Seal(secret.FromString(text), at)
		if text != "" && strings.Contains(sealed, text[:1]+"\x00") || sealed == s.Seal(secret.FromString(text), at) {
			t.Errorf("sealing %d bytes twice gave the same text", len(text))
		}
		if v, err := s.Open(sealed, at); err != nil || v.RevealString() != text {
			t.Errorf("opened %d bytes of %d: %v", v.Len(), len(text), err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	s := sealer(t, secret.NewKey())
	at := secret.Place{Document: "a/b", Field: "c"}
	sealed := s.Seal(secret.FromString(plain), at)
	changed := []byte(sealed)
	if changed[len(changed)-6]++; changed[len(changed)-6] > 'z' {
		changed[len(changed)-6] = 'A'
	}
	rows := map[string]struct {
		sealed string
		at     secret.Place
		want   error
	}{
		"other document":        {sealed, secret.Place{Document: "a/x", Field: "c"}, secret.ErrNotAuthentic},
		"other field":           {sealed, secret.Place{Document: "a/b", Field: "d"}, secret.ErrNotAuthentic},
		"border moved":          {sealed, secret.Place{Document: "a/", Field: "bc"}, secret.ErrNotAuthentic},
		"changed":               {string(changed), at, secret.ErrNotAuthentic},
		"cut":                   {sealed[:len(sealed)-8], at, secret.ErrNotAuthentic},
		"no box":                {sealed[:strings.LastIndex(sealed, ":")+1], at, secret.ErrNotAuthentic},
		"another key's id":      {"v1:other:" + sealed[strings.LastIndex(sealed, ":")+1:], at, secret.ErrUnknownKey},
		"empty":                 {"", at, secret.ErrMalformed},
		"another version":       {"v2" + sealed[2:], at, secret.ErrMalformed},
		"not base64":            {"v1:id:%%%", at, secret.ErrMalformed},
		"plain text":            {plain, at, secret.ErrMalformed},
		"far too long":          {"v1:id:" + strings.Repeat("A", 2<<20), at, secret.ErrMalformed},
		"another file's key":    {sealer(t, secret.NewKey()).Seal(secret.FromString(plain), at), at, secret.ErrUnknownKey},
		"same id, other secret": {sameID(t, sealed).Seal(secret.FromString(plain), at), at, secret.ErrNotAuthentic},
	}
	for name, row := range rows {
		if v, err := s.Open(row.sealed, row.at); !errors.Is(err, row.want) || !v.IsZero() {
			t.Errorf("%s: got %v, want %v", name, err, row.want)
		}
	}
}

func TestRotation(t *testing.T) {
	old, next := secret.NewKey(), secret.NewKey()
	at := secret.Place{Document: "d", Field: "f"}
	before := sealer(t, old).Seal(secret.FromString(plain), at)
	both := sealer(t, next, old)
	if v, err := both.Open(before, at); err != nil || v.RevealString() != plain || both.Current(before) {
		t.Errorf("a value of the old key: %v, current %v", err, both.Current(before))
	}
	after := both.Seal(secret.FromString(plain), at)
	if _, err := sealer(t, next).Open(after, at); err != nil || !both.Current(after) {
		t.Errorf("a value of the new key: %v", err)
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "er", "key")
	if _, err := secret.LoadKeyFile(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	var first sync.WaitGroup
	sealers := make([]*secret.Sealer, 8)
	for i := range sealers {
		first.Go(func() {
			s, err := secret.LoadOrCreateKeyFile(path)
			if err != nil {
				t.Error(err)
			}
			sealers[i] = s
		})
	}
	first.Wait()
	if t.Failed() {
		return
	}
	at := secret.Place{Document: "d", Field: "f"}
	sealed := sealers[0].Seal(secret.FromString(plain), at)
	for i, s := range sealers {
		if v, err := s.Open(sealed, at); err != nil || v.RevealString() != plain {
			t.Errorf("sealer %d of the same file: %v", i, err)
		}
	}
	if err := secret.CreateKeyFile(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating it again: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
}

func TestKeyFileRefused(t *testing.T) {
	good := secret.NewKey()
	rows := map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"readable by the group": {good.Line(), 0o640, "chmod 600"},
		"readable by all":       {good.Line(), 0o604, "chmod 600"},
		"empty":                 {"# nothing\n\n", 0o600, "no key"},
		"one word":              {"justone\n", 0o600, "line 1"},
		"not base64":            {"# c\nid ***\n", 0o600, "line 2"},
		"short key":             {"id c2hvcnQ=\n", 0o600, "5 bytes"},
		"bad id":                {strings.Replace(good.Line(), good.ID, "a:b", 1), 0o600, "line 1"},
		"same id twice":         {good.Line() + good.Line(), 0o600, "twice"},
		"huge":                  {strings.Repeat("#", 70<<10), 0o600, "too large"},
	}
	for name, row := range rows {
		path := filepath.Join(t.TempDir(), "key")
		write(t, path, row.text, row.mode)
		_, err := secret.LoadKeyFile(path)
		if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want it to say %q", name, err, row.want)
		}
		if material := strings.TrimSpace(strings.TrimPrefix(good.Line(), good.ID)); err != nil && strings.Contains(err.Error(), material) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
	if _, err := secret.LoadKeyFile(t.TempDir()); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("a directory: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	s, err := secret.NewSealer([]secret.Key{secret.NewKey()})
	if err != nil {
		f.Fatal(err)
	}
	at := secret.Place{Document: "d", Field: "f"}
	f.Add("v1:a:AAAA")
	f.Add("v1::")
	f.Add(s.Seal(secret.FromString(plain), secret.Place{}))
	f.Fuzz(func(t *testing.T, text string) {
		if v, err := s.Open(text, at); err == nil || !v.IsZero() {
			t.Errorf("%q opened", text)
		}
	})
}

func sealer(t *testing.T, keys ...secret.Key) *secret.Sealer {
	t.Helper()
	s, err := secret.NewSealer(keys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sameID returns a sealer whose key has the id of the one that made sealed, and other bytes.
func sameID(t *testing.T, sealed string) *secret.Sealer {
	t.Helper()
	k := secret.NewKey()
	k.ID = strings.Split(sealed, ":")[1]
	return sealer(t, k)
}
