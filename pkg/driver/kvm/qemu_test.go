// SPDX-License-Identifier: Apache-2.0

package kvm_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/qmp"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// vm is a QEMU whose processors never start: enough to have devices plugged. Its guest lets go of them
// when it is reset, as a guest does that has no hot-plug.
type vm struct {
	t       *testing.T
	args    []string
	process *testkit.CommandProcess
	socket  string // of the monitor for the driver
	second  *qmp.Client
}

const remedy = "install Debian's qemu-system-x86"

// newVM starts a QEMU with the buses pci.opi.0 and pci.opi.1, with further arguments.
func newVM(t *testing.T, args ...string) *vm {
	t.Helper()
	dir := testkit.SocketDir(t)
	v := &vm{t: t, socket: filepath.Join(dir, "qmp")}
	second := filepath.Join(dir, "qmp2")
	v.args = append([]string{
		"-nodefaults", "-no-user-config", "-display", "none", "-S", "-m", "32M",
		"-machine", "pc,accel=tcg,memory-backend=memory", "-object", "memory-backend-memfd,id=memory,share=on,size=32M",
		"-device", "pci-bridge,id=pci.opi.0,chassis_nr=1", "-device", "pci-bridge,id=pci.opi.1,chassis_nr=2",
		"-qmp", "unix:" + v.socket + ",server=on,wait=off", "-qmp", "unix:" + second + ",server=on,wait=off",
	}, args...)
	v.start()
	var err error
	v.second, err = qmp.New(qmp.Config{Network: "unix", Address: second, Log: logger(t)})
	must(t, err)
	runUntilEnd(t, v.second.Run)
	v.awake()
	return v
}

// start starts QEMU, again if it has been killed.
func (v *vm) start() {
	v.t.Helper()
	v.process = testkit.Command(v.t, remedy, "qemu-system-x86_64", v.args...)
}

// awake waits until QEMU answers.
func (v *vm) awake() {
	v.t.Helper()
	testkit.Eventually(v.t, "QEMU answers", func() error { return v.try("query-status", nil, nil) })
}

// try carries out a command.
func (v *vm) try(command string, arguments, result any) error {
	ctx, cancel := context.WithTimeout(v.t.Context(), 5*time.Second)
	defer cancel()
	return v.second.Execute(ctx, command, arguments, result)
}

// do carries out a command that must work.
func (v *vm) do(command string, arguments, result any) {
	v.t.Helper()
	must(v.t, v.try(command, arguments, result))
}

// letGo resets the guest again and again until the test ends.
func (v *vm) letGo() {
	runUntilEnd(v.t, func(ctx context.Context) error {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = v.second.Execute(ctx, "system_reset", nil, nil)
			case <-ctx.Done():
				return nil
			}
		}
	})
}

// where returns where a device sits, "" if it is not there.
func (v *vm) where(id string) string {
	v.t.Helper()
	get := func(property string, value any) error {
		return v.try("qom-get", map[string]any{"path": "/machine/peripheral/" + id, "property": property}, value)
	}
	var (
		bus string
		at  int64
	)
	if err := get("parent_bus", &bus); err != nil {
		if r := qmp.Refusal(err); r == nil || r.Class != qmp.ClassDeviceNotFound {
			v.t.Fatal(err)
		}
		return ""
	}
	must(v.t, get("addr", &at))
	return fmt.Sprintf("%s %02x.%x", filepath.Base(bus), at>>3, at&7)
}

// connects has QEMU connect to a socket every second until somebody is there.
func (v *vm) connects(id, path string) {
	v.t.Helper()
	data := map[string]any{"addr": map[string]any{"type": "unix", "data": map[string]any{"path": path}}, "server": false}
	var is struct{ QEMU qmp.Version }
	v.do("query-version", nil, &is)
	if is.QEMU.AtLeast(9, 2) {
		data["reconnect-ms"] = 1000
	} else {
		data["reconnect"] = 1
	}
	v.do("chardev-add", map[string]any{"id": id, "backend": map[string]any{"type": "socket", "data": data}}, nil)
}

// chardevs lists the connections that are ours, with how they are.
func (v *vm) chardevs() string {
	v.t.Helper()
	var all []struct{ Label, Filename string }
	v.do("query-chardev", nil, &all)
	var found []string
	for _, c := range all {
		if strings.HasPrefix(c.Label, "opi") {
			state, _, _ := strings.Cut(c.Filename, ":")
			found = append(found, c.Label+" "+state)
		}
	}
	return strings.Join(found, ",")
}

// sits checks where a device sits.
func (v *vm) sits(id, where string) {
	v.t.Helper()
	if got := v.where(id); got != where {
		v.t.Errorf("device %s sits at %q, want %q", id, got, where)
	}
}

func logger(t *testing.T) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// runUntilEnd runs what blocks until its context ends, until the test ends.
func runUntilEnd(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// hung returns an error that says what is not yet as wanted.
func hung(what string, got any) error { return fmt.Errorf("%s: %v", what, got) }
