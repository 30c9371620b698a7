// SPDX-License-Identifier: Apache-2.0

// Package secret holds what must never be seen: a [Value] that prints as [redacted] whatever is
// done to it, and a [Sealer] that encrypts values for the store with a key from a file.
//
// # Sealed values
//
// A sealed value is text, so that it can stand in JSON:
//
//	v1:<key id>:<base64 of nonce (12 bytes) | AES-256-GCM ciphertext | tag (16 bytes)>
//
// The associated data binds it to its place (see [Place]): a sealed value that is copied to another
// document or field does not open there.
package secret

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
)

// redacted is what every printed form of a Value says.
const redacted = "[redacted]"

// maxFileBytes bounds what is read from a file that should hold one secret.
const maxFileBytes = 64 << 10

// ErrTooLarge is returned for a file that is too large to hold a secret.
var ErrTooLarge = errors.New("file is too large for a secret")

// Value is a secret: a key, a password, a PSK. It prints as [redacted] under every verb of fmt, in
// JSON, text and slog, also as a field of another struct. The zero Value is empty. A Value does not
// change after it was made, so it may be copied and used by several goroutines. Compare with
// [Value.Equal]; == does not compile.
type Value struct {
	// A function, because fmt and reflection cannot look into one. A pointer would not do: fmt follows
	// a pointer in an unexported field when the verb does not suit it (%s of a struct that holds one).
	bytesOf func() []byte
}

// New returns a Value with a copy of b.
func New(b []byte) Value {
	return own(bytes.Clone(b))
}

// own returns a Value over b itself, which the caller must not use any more.
func own(b []byte) Value { return Value{bytesOf: func() []byte { return b }} }

// FromString returns a Value with the bytes of s.
func FromString(s string) Value { return New([]byte(s)) }

// ReadFile returns the content of a file, without line ends at its end, as it is usual for files
// that hold a password. Errors name the file.
func ReadFile(path string) (Value, error) {
	f, err := os.Open(path) //nolint:gosec // the path is the operator's
	if err != nil {
		return Value{}, fmt.Errorf("read secret: %w", err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return Value{}, fmt.Errorf("read secret: %w", err)
	}
	if len(b) > maxFileBytes {
		return Value{}, fmt.Errorf("read secret %s: %w: at most %d bytes are expected", path, ErrTooLarge, maxFileBytes)
	}
	return New(bytes.TrimRight(b, "\r\n")), nil
}

// Reveal returns a copy of the secret. It is the only way to the bytes besides [Value.RevealString],
// so that a search for the name finds every place that looks.
func (v Value) Reveal() []byte { return bytes.Clone(v.bytes()) }

// RevealString returns the secret as a string.
func (v Value) RevealString() string { return string(v.bytes()) }

// Len returns the number of bytes.
func (v Value) Len() int { return len(v.bytes()) }

// IsZero reports whether the secret is empty.
func (v Value) IsZero() bool { return v.Len() == 0 }

// Equal compares in a time that depends on the lengths only.
func (v Value) Equal(w Value) bool { return subtle.ConstantTimeCompare(v.bytes(), w.bytes()) == 1 }

// String returns [redacted].
func (Value) String() string { return redacted }

// GoString returns [redacted].
func (Value) GoString() string { return redacted }

// Format writes [redacted] whatever the verb and flags are.
func (Value) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// MarshalText returns [redacted]; YAML and map keys of JSON use it.
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[redacted]".
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue makes slog write [redacted].
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }

func (v Value) bytes() []byte {
	if v.bytesOf == nil {
		return nil
	}
	return v.bytesOf()
}
