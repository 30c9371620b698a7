// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// packages is where `make test-needs` puts Debian packages, below the top of the module: the ordinary
// kernel and busybox.
const packages = ".cache/guest"

// remedy ends messages about what is missing.
const remedy = "run `make test-needs` (it takes QEMU, a kernel, busybox and fio from Debian)"

// system is what guests are made of, unpacked.
type system struct {
	vmlinux string // path
	busybox string // path
	modules *modules
}

// unpack unpacks busybox and the kernel of a folder, which is below the top of the module and packages if
// empty, into a folder beside the kernel, once; later calls find it.
func unpack(ctx context.Context, kernel string) (*system, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	cache := filepath.Join(root, packages)
	kernelDeb, err := newest(filepath.Join(root, cmp.Or(kernel, packages)), "linux-image-*.deb")
	if err != nil {
		return nil, err
	}
	busyboxDeb, err := newest(cache, "busybox-static_*.deb")
	if err != nil {
		return nil, err
	}
	dir := strings.TrimSuffix(kernelDeb, ".deb") + ".unpacked"
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := unpackInto(ctx, dir, kernelDeb, busyboxDeb); err != nil {
			return nil, err
		}
	}
	s := &system{vmlinux: filepath.Join(dir, "vmlinux"), busybox: filepath.Join(dir, "bin", "busybox")}
	if _, err := os.Stat(s.busybox); err != nil {
		s.busybox = filepath.Join(dir, "usr", "bin", "busybox") // where Debian 13 has it
	}
	if s.modules, err = findModules(dir); err != nil {
		return nil, err
	}
	return s, nil
}

// newest returns the last of the packages that match, by name.
func newest(dir, pattern string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("no %s in %s: %s", pattern, dir, remedy)
	}
	return found[len(found)-1], nil
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// unpackInto does it beside the folder and renames at the end, so that what is there is whole even if
// several tests do it at the same time.
func unpackInto(ctx context.Context, dir string, debs ...string) error {
	work, err := os.MkdirTemp(filepath.Dir(dir), "unpacking-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(work) //nolint:errcheck // at worst it stays in the cache
	for _, deb := range debs {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, work).CombinedOutput(); err != nil { //nolint:gosec // a package
			return fmt.Errorf("unpack %s: %w: %s", deb, err, out)
		}
	}
	if err := expandModules(ctx, work); err != nil {
		return err
	}
	images, err := filepath.Glob(filepath.Join(work, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return fmt.Errorf("%s holds %d kernels, want one", debs[0], len(images))
	}
	vmlinux, err := uncompressed(ctx, images[0])
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(work, "vmlinux"), vmlinux, 0o600); err != nil {
		return fmt.Errorf("keep the kernel: %w", err)
	}
	if err := os.Rename(work, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keep what was unpacked: %w", err)
	}
	return nil
}

// expandModules uncompresses modules, which some releases of Debian pack one by one.
func expandModules(ctx context.Context, dir string) error {
	packed, err := findModules(dir)
	if err != nil {
		return err
	}
	for _, path := range packed.paths {
		program, ok := map[string]string{".xz": "xz", ".zst": "zstd"}[filepath.Ext(path)]
		if !ok {
			continue
		}
		content, err := os.ReadFile(path) //nolint:gosec // below our folder
		if err != nil {
			return fmt.Errorf("read a module: %w", err)
		}
		if content, err = expand(ctx, program, content); err != nil {
			return err
		}
		if err = os.WriteFile(strings.TrimSuffix(path, filepath.Ext(path)), content, 0o600); err == nil {
			err = os.Remove(path)
		}
		if err != nil {
			return fmt.Errorf("uncompress a module: %w", err)
		}
	}
	return nil
}

// Where a bzImage says where its payload is (Documentation/arch/x86/boot.rst of Linux).
const (
	setupSectors  = 0x1f1
	payloadOffset = 0x248
	payloadLength = 0x24c
	headerEnd     = 0x250
)

// uncompressed takes the kernel proper out of a bzImage: QEMU starts it much faster than the guest can
// uncompress it.
func uncompressed(ctx context.Context, path string) ([]byte, error) {
	image, err := os.ReadFile(path) //nolint:gosec // below our folder
	if err != nil {
		return nil, fmt.Errorf("read the kernel: %w", err)
	}
	if len(image) < headerEnd {
		return nil, fmt.Errorf("%s is no bzImage", path)
	}
	start := (int(image[setupSectors])+1)*512 + int(binary.LittleEndian.Uint32(image[payloadOffset:]))
	end := start + int(binary.LittleEndian.Uint32(image[payloadLength:]))
	if start >= end || end > len(image) {
		return nil, fmt.Errorf("%s is no bzImage", path)
	}
	payload := image[start:end]
	for _, c := range []struct{ magic, program string }{
		{"\x1f\x8b", "gzip"}, {"\xfd7zXZ\x00", "xz"}, {"\x02\x21\x4c\x18", "lz4"}, {"\x28\xb5\x2f\xfd", "zstd"},
	} {
		if !bytes.HasPrefix(payload, []byte(c.magic)) {
			continue
		}
		// Behind the payload stands its size, which the programs complain of: what counts is what comes out.
		kernel, err := expand(ctx, c.program, payload)
		if !bytes.HasPrefix(kernel, []byte("\x7fELF")) {
			return nil, fmt.Errorf("%s holds no kernel: %w", path, err)
		}
		return kernel, nil
	}
	return nil, fmt.Errorf("%s is compressed in a way that is not known here: it begins with % x", path, payload[:8])
}

// expand runs a program that uncompresses. It returns what came out even if there was an error.
func expand(ctx context.Context, program string, content []byte) ([]byte, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, remedy)
	}
	command := exec.CommandContext(ctx, path, "-dc") //nolint:gosec // one of four
	command.Stdin = bytes.NewReader(content)
	out, err := command.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w", program, err)
	}
	return out, nil
}
