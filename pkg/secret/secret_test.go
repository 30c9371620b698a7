// SPDX-License-Identifier: Apache-2.0

package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/secret"
)

const plain = "hunter2-plain"

// shows reports whether text holds the secret in clear, hexadecimal or as a list of byte values.
func shows(text string) bool {
	decimal := strings.Trim(fmt.Sprintf("%d", []byte(plain)), "[]")
	return strings.Contains(text, plain) || strings.Contains(text, decimal) ||
		strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", plain))
}

func TestValueNeverPrints(t *testing.T) {
	v := secret.FromString(plain)
	type inner struct{ hidden secret.Value }
	holders := map[string]any{
		"value": v, "pointer": &v, "slice": []secret.Value{v}, "map": map[string]secret.Value{"k": v},
		"exported field": struct{ Key secret.Value }{v}, "unexported field": inner{v},
		"pointer to struct": &inner{v}, "nested": struct{ in *inner }{&inner{v}}, "any": []any{v, &v},
	}
	for name, holder := range holders {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%T", "%p", "%20v", "%-5s", "%b", "%z"} {
			if got := fmt.Sprintf(verb, holder); shows(got) {
				t.Errorf("%s of %s shows the secret: %s", verb, name, got)
			}
		}
		if text, err := json.Marshal(holder); err != nil || shows(string(text)) {
			t.Errorf("JSON of %s: %s, %v", name, text, err)
		}
		for kind, handler := range map[string]func(*bytes.Buffer) slog.Handler{
			"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var out bytes.Buffer
			slog.New(handler(&out)).Info("message", "key", holder)
			if shows(out.String()) {
				t.Errorf("slog %s of %s shows the secret: %s", kind, name, out.String())
			}
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, v); got != "[redacted]" {
			t.Errorf("%s = %q, want [redacted]", verb, got)
		}
	}
	if shows(fmt.Errorf("wrong key %v", v).Error()) {
		t.Error("an error shows the secret")
	}
}

func TestValue(t *testing.T) {
	source := []byte(plain)
	v := secret.New(source)
	source[0] = 'X'
	v.Reveal()[0] = 'Y'
	if v.RevealString() != plain || v.Len() != len(plain) || v.IsZero() {
		t.Errorf("the value changed through a slice that was passed in or out: %q", v.RevealString())
	}
	if !v.Equal(secret.FromString(plain)) || v.Equal(secret.FromString("hunter")) || v.Equal(secret.Value{}) {
		t.Error("Equal is wrong")
	}
	var zero secret.Value
	if !zero.IsZero() || !zero.Equal(secret.New(nil)) || zero.Reveal() != nil || zero.String() != "[redacted]" {
		t.Error("the zero value is not the empty secret")
	}
}

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	write(t, path, plain+"\r\n", 0o600)
	if v, err := secret.ReadFile(path); err != nil || v.RevealString() != plain {
		t.Errorf("got %q, %v", v.RevealString(), err)
	}
	write(t, path, strings.Repeat("x", 65<<10), 0o600)
	if _, err := secret.ReadFile(path); !errors.Is(err, secret.ErrTooLarge) || !strings.Contains(err.Error(), path) {
		t.Errorf("a file of 65 KiB: %v", err)
	}
	if _, err := secret.ReadFile(path + "-none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
