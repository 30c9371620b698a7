// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// basic is what each guest needs to reach the network.
var basic = []string{"virtio_pci", "virtio_net"}

// initramfs writes the first file system of a guest with these modules and further files into a folder
// and returns its path.
func (s *system) initramfs(ctx context.Context, dir string, modules []string, further map[string]string) (string, error) {
	program := filepath.Join(dir, "init")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, //nolint:gosec // go
		"github.com/opi-bridge/opi-bridge/tests/host/guest/init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the init program: %w: %s", err, out)
	}
	var a archive
	dirs := map[string]bool{}
	for _, name := range []string{"dev", "proc", "sys", "tmp", "mnt", "bin", "modules"} {
		dirs[name] = true
		a.dir(name)
	}
	a.char("dev/console", 5, 1)
	a.link("bin/sh", "busybox")
	files := map[string]string{"init": program, "bin/busybox": s.busybox}
	for _, name := range modules {
		files["modules/"+name] = s.modules.paths[name]
	}
	for name, path := range further {
		for at, c := range name {
			if c == '/' && !dirs[name[:at]] {
				dirs[name[:at]] = true
				a.dir(name[:at])
			}
		}
		files[name] = path
	}
	for name, path := range files {
		content, err := os.ReadFile(path) //nolint:gosec // what was unpacked or built
		if err != nil {
			return "", fmt.Errorf("fill the initramfs: %w", err)
		}
		a.file(name, content)
	}
	path := filepath.Join(dir, "initramfs")
	if err := os.WriteFile(path, a.bytes(), 0o600); err != nil {
		return "", fmt.Errorf("write the initramfs: %w", err)
	}
	return path, nil
}
