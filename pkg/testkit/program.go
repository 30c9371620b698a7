// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// built remembers the programs that this test binary has built, each once however many tests ask:
// from name to func() (string, error). It is one for the process, as the files are.
var built sync.Map

// Program builds ./cmd/<name> of this module, with the race detector if the tests have it, and
// returns the path of the binary. Test binaries of one checkout share what they build; go build sees
// to it that it is never older than the sources were at the first call.
func Program(tb testing.TB, name string) string {
	tb.Helper()
	entry, _ := built.LoadOrStore(name, sync.OnceValues(func() (string, error) { return build(name) }))
	once, ok := entry.(func() (string, error))
	if !ok {
		tb.Fatalf("built holds a %T", entry)
	}
	path, err := once()
	if err != nil {
		tb.Fatalf("build ./cmd/%s: %v", name, err)
	}
	return path
}

func build(name string) (string, error) {
	// No test's context: what is built serves all tests of this binary.
	ctx, cancel := context.WithTimeout(context.Background(), 20*patience)
	defer cancel()
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	dir, err := cacheDir(root)
	if err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(dir, name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	path := filepath.Join(dir, name)
	args := []string{"build", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/"+name)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	file := strings.TrimSpace(string(out))
	if filepath.Base(file) != "go.mod" {
		return "", errors.New("tests do not run within the module")
	}
	return filepath.Dir(file), nil
}

// cacheDir is a directory for the programs of one checkout, apart for the race detector.
func cacheDir(root string) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil { // no home directory
		base = filepath.Join(os.TempDir(), "cache-"+strconv.Itoa(os.Getuid()))
	}
	sum := sha256.Sum256([]byte(root))
	kind := "plain"
	if raceEnabled {
		kind = "race"
	}
	dir := filepath.Join(base, "opi-bridge-testkit", hex.EncodeToString(sum[:6])+"-"+kind)
	return dir, os.MkdirAll(dir, 0o700)
}

// lock waits until this process alone has the file, so that test binaries that run at the same time
// do not build the same program over each other.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}
