// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// modules finds kernel modules and what they need, by name.
type modules struct {
	paths map[string]string
}

// findModules looks for the modules below a directory.
func findModules(dir string) (*modules, error) {
	m := &modules{paths: map[string]string{}}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if name, _, ok := strings.Cut(filepath.Base(path), ".ko"); err == nil && ok && e.Type().IsRegular() {
			m.paths[canonical(name)] = path
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for modules: %w", err)
	}
	return m, nil
}

// canonical returns the name of a module as the kernel lists it: file names may have dashes.
func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }

// closure returns the names of modules and of all that they need, each after what it needs. A name
// that is not there is built into the kernel, or the kernel cannot do it: the test will see.
func (m *modules) closure(names ...string) ([]string, error) {
	var order []string
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		name = canonical(name)
		path, ok := m.paths[name]
		if !ok || seen[name] {
			return nil
		}
		seen[name] = true
		needs, err := dependencies(path)
		if err != nil {
			return err
		}
		for _, need := range needs {
			if err := visit(need); err != nil {
				return err
			}
		}
		order = append(order, name)
		return nil
	}
	for _, name := range names {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// dependencies returns what a module says it needs: "depends=a,b" in its section .modinfo.
func dependencies(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the module %s: %w", path, err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("%s is no kernel module: it has no .modinfo", path)
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("read the module %s: %w", path, err)
	}
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := bytes.CutPrefix(entry, []byte("depends=")); ok {
			return strings.FieldsFunc(string(list), func(r rune) bool { return r == ',' }), nil
		}
	}
	return nil, nil
}
