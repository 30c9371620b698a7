// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Program builds ./cmd/<name> of this module, with the race detector if the tests have it and tb is
// not [WithoutRace], and returns the path of the binary. A test binary builds each program once, however many tests ask;
// those of one checkout share what they build.
func Program(tb testing.TB, name string) string {
	tb.Helper()
	_, plain := tb.(withoutRace)
	path, err := build(name, raceEnabled && !plain)
	if err != nil {
		tb.Fatalf("build ./cmd/%s: %v", name, err)
	}
	return path
}

// WithoutRace returns tb for tests that start programs hundreds of times, or look at their memory: those
// programs are built without the race detector, with which they start and run several times slower, and
// grow.
func WithoutRace(tb testing.TB) testing.TB { return withoutRace{tb} }

type withoutRace struct{ testing.TB }

func build(name string, race bool) (string, error) {
	// No test's context: what is built serves other tests too.
	ctx, cancel := context.WithTimeout(context.Background(), 20*patience)
	defer cancel()
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	dir, err := cacheDir(root, race)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	unlock, err := lock(path + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	me, err := self()
	if err != nil {
		return "", err
	}
	marker := path + ".built-by"
	if by, err := os.ReadFile(marker); err == nil && string(by) == me {
		return path, nil
	}
	output := path + ".out" // go build finds here what it made last
	args := []string{"build", "-o", output}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/"+name)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	if err := publish(output, path); err != nil {
		return "", err
	}
	return path, os.WriteFile(marker, []byte(me), 0o600)
}

// publish gives a file a second name in one step, so that a test which starts the program at this
// moment finds the old one or the new one.
func publish(file, name string) error {
	next := name + ".next"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(file, next); err != nil {
		return err
	}
	if err := os.Rename(next, name); err != nil {
		return err
	}
	// Rename leaves both names when they are of one file already.
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// self tells this run of this test binary from all others.
func self() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("process %d of %s of %d", os.Getpid(), path, info.ModTime().UnixNano()), nil
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
func cacheDir(root string, race bool) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil { // no home directory
		base = filepath.Join(os.TempDir(), "cache-"+strconv.Itoa(os.Getuid()))
	}
	sum := sha256.Sum256([]byte(root))
	kind := "plain"
	if race {
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
