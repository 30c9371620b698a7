// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/secret"
)

// keyFiles are the files through which SPDK gets pre-shared keys. Their names tell which data plane
// they are for, so that bridges of several can share a directory, and hide the names of the keys.
//
// A key is in the directory before it is in the keyring. Whoever writes one holds a shared lock of the
// directory until the keyring knows it; whoever takes away files that no keyring knows holds the lock
// alone. So a second bridge of the same data plane, which waits for its turn, does no harm.
type keyFiles struct {
	dir    string // absolute; "" if there is none
	prefix string // of the names of files of this data plane
}

const (
	// lockPause is the time between two tries to get the lock of the directory.
	lockPause = 5 * time.Millisecond
	// sweepTries is how often the lock is tried for by who takes files away: a key is written within a
	// few milliseconds.
	sweepTries = 20
)

func newKeyFiles(dir, dataPlane string) (keyFiles, error) {
	if dir == "" {
		return keyFiles{}, nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return keyFiles{}, fmt.Errorf("directory of key files: %w", err)
	}
	sum := sha256.Sum256([]byte(dataPlane))
	return keyFiles{dir: dir, prefix: "opi-bridge-psk-" + hex.EncodeToString(sum[:4]) + "-"}, nil
}

// path returns where the key of that name is.
func (f keyFiles) path(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(f.dir, f.prefix+hex.EncodeToString(sum[:16]))
}

// ours says whether a path is that of one of these files.
func (f keyFiles) ours(path string) bool {
	return f.dir != "" && filepath.Dir(path) == f.dir && strings.HasPrefix(filepath.Base(path), f.prefix)
}

// write writes the key of that name, whole or not at all, into the directory that share has made.
func (f keyFiles) write(name string, key secret.Value) (err error) {
	tmp, err := os.CreateTemp(f.dir, "."+f.prefix+"*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(keyText(key))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), f.path(name))
}

// holds says whether the file of that name has exactly this key.
func (f keyFiles) holds(name string, key secret.Value) bool {
	have, err := secret.ReadFile(f.path(name))
	return err == nil && have.Equal(secret.New(keyText(key)))
}

// keyText returns what is written to a file: the key without white space around it, which not every SPDK
// passes over.
func keyText(key secret.Value) []byte { return bytes.TrimSpace(key.Reveal()) }

// there says whether there is a file at a path of ours.
func (f keyFiles) there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// remove removes the key of that name. One that is not there is no error.
func (f keyFiles) remove(name string) error {
	if err := os.Remove(f.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// share takes the lock of the directory for writing keys, makes the directory if it is missing, and
// returns how to give the lock back.
func (f keyFiles) share(ctx context.Context) (release func(), err error) {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return nil, err
	}
	for {
		release, err = f.lock(syscall.LOCK_SH)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return release, err
		}
		if err := pause(ctx, lockPause); err != nil {
			return nil, err
		}
	}
}

// lock takes the lock of the directory if it can be had at once.
func (f keyFiles) lock(how int) (release func(), err error) {
	dir, err := os.Open(f.dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(dir.Fd()), how|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return func() { _ = dir.Close() }, nil
}

// sweep removes the files of this data plane that nobody knows, and says how many. It does nothing
// while keys are written all the time: known would be too old. known is asked for under the lock.
func (f keyFiles) sweep(ctx context.Context, known func() (map[string]bool, error)) (removed int, err error) {
	release, err := f.lock(syscall.LOCK_EX)
	for try := 1; errors.Is(err, syscall.EWOULDBLOCK) && try < sweepTries; try++ {
		if err := pause(ctx, lockPause); err != nil {
			return 0, err
		}
		release, err = f.lock(syscall.LOCK_EX)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EWOULDBLOCK):
		return 0, nil
	case err != nil:
		return 0, err
	}
	defer release()
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return 0, err
	}
	var files []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), f.prefix) || strings.HasPrefix(e.Name(), "."+f.prefix) {
			files = append(files, filepath.Join(f.dir, e.Name()))
		}
	}
	if len(files) == 0 {
		return 0, nil
	}
	paths, err := known()
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, path := range files {
		if paths[path] {
			continue
		}
		if err := os.Remove(path); err != nil {
			errs = append(errs, err)
			continue
		}
		removed++
	}
	return removed, errors.Join(errs...)
}

// userID returns the number of the user that this process runs as.
func userID() string { return strconv.Itoa(os.Getuid()) }
