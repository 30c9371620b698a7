// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// prepare mounts what programs expect and makes busybox's commands.
func prepare(ctx context.Context) error {
	for _, m := range []struct{ kind, dir string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil { //nolint:gosec // nobody else is here
			return fmt.Errorf("make a directory: %w", err)
		}
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	if out, err := exec.CommandContext(ctx, "/bin/busybox", "--install", "-s", "/bin").CombinedOutput(); err != nil {
		return fmt.Errorf("make the commands: %w: %s", err, out)
	}
	return nil
}

// loadModules loads modules in order; one that is there already is left alone.
func loadModules(modules []Module) error {
	for _, m := range modules {
		if err := loadModule(m); err != nil {
			return err
		}
	}
	return nil
}

func loadModule(m Module) error {
	f, err := os.Open(filepath.Join("/modules", m.File))
	if err != nil {
		return fmt.Errorf("open a module: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	if err := unix.FinitModule(int(f.Fd()), m.Params, 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load %s: %w", m.File, err)
	}
	return nil
}

// network gives the only interface its address.
func network(address string) error {
	const name = "eth0"
	prefix, err := netip.ParsePrefix(address)
	if err != nil {
		return fmt.Errorf("the address: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // it carries nothing
	request, err := unix.NewIfreq(name)
	if err != nil {
		return fmt.Errorf("name %s: %w", name, err)
	}
	set := func(what uint, value []byte) error {
		if err := request.SetInet4Addr(value); err != nil {
			return fmt.Errorf("use %v: %w", value, err)
		}
		if err := unix.IoctlIfreq(fd, what, request); err != nil {
			return fmt.Errorf("configure %s: %w", name, err)
		}
		return nil
	}
	mask := make([]byte, 4)
	binary.BigEndian.PutUint32(mask, ^uint32(0)<<(32-prefix.Bits()))
	if err := set(unix.SIOCSIFADDR, prefix.Addr().AsSlice()); err != nil {
		return err
	}
	if err := set(unix.SIOCSIFNETMASK, mask); err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("switch %s on: %w", name, err)
	}
	return nil
}

// connect makes the kernel's NVMe host connect to a subsystem.
func connect(options string) (string, error) {
	f, err := os.OpenFile("/dev/nvme-fabrics", os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("open the NVMe host: %w", err)
	}
	defer f.Close() //nolint:errcheck // the answer counts
	if _, err := f.WriteString(options); err != nil {
		return "", fmt.Errorf("connect with %s: %w", options, err)
	}
	answer := make([]byte, 256)
	n, err := f.Read(answer)
	if err != nil {
		return "", fmt.Errorf("read what came of the connect: %w", err)
	}
	return string(answer[:n]), nil
}

// zero makes the disk write zeroes, where it can without being sent them.
func zero(r Range) error {
	f, err := os.OpenFile(r.Device, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open a disk: %w", err)
	}
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, r.Offset, r.Bytes)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write zeroes to %s: %w", r.Device, err)
	}
	return nil
}

// shell runs a script.
func shell(ctx context.Context, script string) (Outcome, error) {
	out, err := exec.CommandContext(ctx, "/bin/sh", "-c", script).CombinedOutput() //nolint:gosec // to run what the test says is its purpose
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Outcome{}, fmt.Errorf("run sh: %w", err)
	}
	o := Outcome{Output: string(out)}
	if exit != nil {
		o.Status = exit.ExitCode()
	}
	return o, nil
}
