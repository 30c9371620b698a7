// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// KeyBytes is the length of a sealing key.
const KeyBytes = 32

// maxIDBytes bounds a key id.
const maxIDBytes = 32

// ErrPermissions is returned for a key file that others than its owner can reach.
var ErrPermissions = errors.New("key file is open to others than its owner")

// Key is one sealing key.
type Key struct {
	// ID names the key in sealed values: 1 to 32 letters, digits, '-' and '_'.
	ID string
	// Material is the key itself, KeyBytes long.
	Material Value
}

func (k Key) validate() error {
	if k.ID == "" || len(k.ID) > maxIDBytes || strings.ContainsFunc(k.ID, notInID) {
		return fmt.Errorf("key id %q: expected 1 to %d letters, digits, '-' and '_'", k.ID, maxIDBytes)
	}
	if n := k.Material.Len(); n != KeyBytes {
		return fmt.Errorf("key %q: %d bytes, expected %d", k.ID, n, KeyBytes)
	}
	return nil
}

func notInID(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// NewKey returns a random key with a random id.
func NewKey() Key {
	id, material := make([]byte, 4), make([]byte, KeyBytes)
	_, _ = rand.Read(id) // crypto/rand.Read never fails: it ends the process instead
	_, _ = rand.Read(material)
	return Key{ID: hex.EncodeToString(id), Material: own(material)}
}

// Line returns the key as a line of a key file, line end included. It holds the key in the clear.
func (k Key) Line() string {
	return k.ID + " " + base64.StdEncoding.EncodeToString(k.Material.bytes()) + "\n"
}

// LoadKeyFile returns a Sealer over the keys of a file. Each line is "<id> <base64 of 32 bytes>";
// empty lines and lines that begin with '#' are skipped. The first key seals: to rotate, put a new
// line first, let the bridge seal everything again, then remove the old one. The file must be a
// regular one that only its owner can read or write ([ErrPermissions]). A missing file is
// fs.ErrNotExist. Errors name file and line, and no part of a key.
func LoadKeyFile(path string) (*Sealer, error) {
	text, err := readKeyFile(path)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	s, err := NewSealer(keys)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return s, nil
}

// LoadOrCreateKeyFile is LoadKeyFile, except that a missing file is made first, with one random key.
func LoadOrCreateKeyFile(path string) (*Sealer, error) {
	s, err := LoadKeyFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if err := CreateKeyFile(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return LoadKeyFile(path)
}

// CreateKeyFile writes a key file with one random key, mode 0600, and its directory, mode 0700, if
// that is missing. A file that exists is left alone (fs.ErrExist). The file appears whole or not at
// all, and is on disk when CreateKeyFile returns.
func CreateKeyFile(path string) error {
	if err := createKeyFile(path, NewKey()); err != nil {
		return fmt.Errorf("create key file %s: %w", path, err)
	}
	return nil
}

func createKeyFile(path string, k Key) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, os.Remove(tmp.Name()))
	}()
	_, err = io.WriteString(tmp, "# Sealing keys of opi-bridge: the first seals, all open. Losing them loses the secrets in the store.\n"+k.Line())
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	// A link, unlike a rename, never replaces a file that somebody else has just made.
	if err := os.Link(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir) //nolint:gosec // the directory of the operator's path
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func readKeyFile(path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // the path is the operator's
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("not a regular file but %s", info.Mode())
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return "", fmt.Errorf("%w: mode %04o, make it 0600 (chmod 600)", ErrPermissions, perm)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxFileBytes {
		return "", fmt.Errorf("%w: at most %d bytes are expected", ErrTooLarge, maxFileBytes)
	}
	return string(b), nil
}

func parseKeys(text string) ([]Key, error) {
	var keys []Key
	number := 0
	for line := range strings.Lines(text) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 2 {
			return nil, fmt.Errorf("line %d: expected \"<id> <base64 of %d bytes>\"", number, KeyBytes)
		}
		material, err := base64.StdEncoding.DecodeString(fields[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: the key is not base64", number)
		}
		k := Key{ID: fields[0], Material: own(material)}
		if n := len(material); n != KeyBytes {
			return nil, fmt.Errorf("line %d: the key has %d bytes, expected %d", number, n, KeyBytes)
		}
		if k.validate() != nil {
			// The id is not printed: a line with the key first would show it.
			return nil, fmt.Errorf("line %d: the id is not 1 to %d letters, digits, '-' and '_'", number, maxIDBytes)
		}
		keys = append(keys, k)
	}
	return keys, nil
}
