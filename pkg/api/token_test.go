// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

func TestTokenComesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		collection, last := rapid.StringN(0, -1, 500).Draw(t, "collection"), rapid.StringN(0, -1, 500).Draw(t, "last")
		token := newToken(collection, last)
		got, err := parseToken("page_token", token, collection)
		if err != nil || got != last {
			t.Fatalf("%q came back as %q, %v", last, got, err)
		}
		if _, err := parseToken("page_token", token, collection+"x"); !errors.Is(err, errdefs.InvalidArgument) {
			t.Fatalf("another collection took the token: %v", err)
		}
	})
}

// A token is the same in every process, for ever: clients may hold one across an upgrade.
func TestTokenIsPinned(t *testing.T) {
	t.Parallel()
	const pinned = "AQtudWxsVm9sdW1lc251bGxWb2x1bWVzL2RiLTGungGYDG3fjw"
	if got := newToken("nullVolumes", "nullVolumes/db-1"); got != pinned {
		t.Errorf("token is %s, was %s", got, pinned)
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	good := newToken("nullVolumes", "nullVolumes/db-1")
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	for what, token := range map[string]string{
		"no base64": "!!", "padded": good + "=", "cut": good[:len(good)-3], "empty bytes": base64.RawURLEncoding.EncodeToString([]byte{1}),
		"long": strings.Repeat("A", maxToken+1), "of another version": base64.RawURLEncoding.EncodeToString(append([]byte{2}, raw[1:]...)),
		"of another tool": "eyJvZmZzZXQiOjUwfQ",
	} {
		_, err := parseToken("page_token", token, "nullVolumes")
		if !errors.Is(err, errdefs.InvalidArgument) || !strings.Contains(err.Error(), "stale or foreign page token") {
			t.Errorf("a token %s: %v", what, err)
		}
	}
	for i := range raw {
		bent := append([]byte(nil), raw...)
		bent[i] ^= 0x40
		if _, err := parseToken("page_token", base64.RawURLEncoding.EncodeToString(bent), "nullVolumes"); err == nil {
			t.Errorf("a token with byte %d changed was taken", i)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(newToken("nullVolumes", "nullVolumes/db-1"), "nullVolumes")
	f.Fuzz(func(t *testing.T, token, collection string) {
		last, err := parseToken("page_token", token, collection)
		if err == nil && newToken(collection, last) == "" {
			t.Error("a token was taken that cannot be made")
		}
	})
}
