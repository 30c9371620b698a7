// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	// fioPackages is where `make test-needs` puts fio and its libraries, below the top of the module.
	fioPackages = ".cache/fio"
	// fioProgram is where the package has the program.
	fioProgram = "usr/bin/fio"
)

// Fio returns what a guest needs to run Debian's fio, as usr/bin/fio, for Config.Files: the program, the
// loader, and the libraries that it names and that those name.
func Fio(tb testing.TB) map[string]string {
	tb.Helper()
	root, err := moduleRoot(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	dir, err := unpackFio(tb.Context(), filepath.Join(root, fioPackages))
	if err != nil {
		tb.Fatal(err)
	}
	files, err := linked(dir, fioProgram)
	if err != nil {
		tb.Fatal(err)
	}
	return files
}

// unpackFio unpacks the packages into a folder beside them, once, and returns it.
func unpackFio(ctx context.Context, packages string) (string, error) {
	debs, err := filepath.Glob(filepath.Join(packages, "*.deb"))
	if err != nil || len(debs) == 0 {
		return "", fmt.Errorf("no packages in %s: %s", packages, remedy)
	}
	dir := filepath.Join(packages, "unpacked")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	work, err := os.MkdirTemp(packages, "unpacking-")
	if err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(work) //nolint:errcheck // at worst it stays in the cache
	for _, deb := range debs {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, work).CombinedOutput(); err != nil { //nolint:gosec // a package
			return "", fmt.Errorf("unpack %s: %w: %s", deb, err, out)
		}
	}
	if err := os.Rename(work, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("keep what was unpacked: %w", err)
	}
	return dir, nil
}

// linked returns a program below a folder with its loader and libraries: where they belong by where they
// are.
func linked(dir, program string) (map[string]string, error) {
	libraries, err := findLibraries(dir)
	if err != nil {
		return nil, err
	}
	files := map[string]string{program: filepath.Join(dir, program)}
	var visit func(path string) error
	visit = func(path string) error {
		needs, loader, err := needed(path)
		if err != nil {
			return err
		}
		for _, need := range needs {
			found, ok := libraries[need]
			if !ok {
				return fmt.Errorf("%s needs %s, which no package has brought: remove %s and %s", path, need, fioPackages, remedy)
			}
			place, err := filepath.Rel(dir, found)
			if err != nil {
				return fmt.Errorf("place a library: %w", err)
			}
			if need == filepath.Base(loader) {
				place = strings.TrimPrefix(loader, "/")
			}
			if _, seen := files[place]; seen {
				continue
			}
			files[place] = found
			if err := visit(found); err != nil {
				return err
			}
		}
		if loader != "" {
			files[strings.TrimPrefix(loader, "/")] = libraries[filepath.Base(loader)]
		}
		return nil
	}
	return files, visit(files[program])
}

// findLibraries returns the libraries below a folder by file name, which is how programs ask for them.
func findLibraries(dir string) (map[string]string, error) {
	libraries := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if name := filepath.Base(path); err == nil && !e.IsDir() && strings.Contains(name, ".so") {
			libraries[name] = path
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for libraries: %w", err)
	}
	return libraries, nil
}

// needed returns the libraries that a file names, and the loader if it is a program.
func needed(path string) (libraries []string, loader string, err error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", path, err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	if libraries, err = f.ImportedLibraries(); err != nil {
		return nil, "", fmt.Errorf("read what %s needs: %w", path, err)
	}
	if s := f.Section(".interp"); s != nil {
		b, err := s.Data()
		if err != nil {
			return nil, "", fmt.Errorf("read the loader of %s: %w", path, err)
		}
		loader = strings.TrimRight(string(b), "\x00")
	}
	return libraries, loader, nil
}
