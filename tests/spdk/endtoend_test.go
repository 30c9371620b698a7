// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// node is an opi-dataplane that is configured by calls.
type node struct {
	*instance
	dir, name string
}

func newNode(tb testing.TB, dir, name string) *node {
	tb.Helper()
	return &node{instance: start(tb, dir, name), dir: dir, name: name}
}

// must calls and wants a result.
func (n *node) must(method, params string) json.RawMessage {
	n.tb.Helper()
	n.send(fmt.Appendf(nil, `{"id":1,"method":%q,"params":%s}`, method, params))
	var a struct {
		Result json.RawMessage
		Error  json.RawMessage
	}
	if err := json.Unmarshal(n.receive(patience), &a); err != nil || a.Error != nil {
		n.tb.Fatalf("%s %s: %s %v\n%s", method, params, a.Error, err, n.log)
	}
	return a.Result
}

// restart kills the process as a power cut would, and starts a new one that knows nothing.
func (n *node) restart() {
	n.tb.Helper()
	n.kill()
	n.instance = start(n.tb, n.dir, n.name)
}

const (
	storageNQN = "nqn.2019-06.io.storage:vol1"
	dpuNQN     = "nqn.2016-06.io.spdk:cnode1"
	diskUUID   = "11111111-1111-4111-8111-111111111111"
)

// export shows a bdev over NVMe/TCP. The listener comes last, so that no host sees half of it.
func (n *node) export(nqn, bdev, port string) {
	n.tb.Helper()
	n.must("nvmf_create_transport", `{"trtype":"TCP"}`)
	n.must("nvmf_create_subsystem", fmt.Sprintf(`{"nqn":%q,"serial_number":"SN1","allow_any_host":true}`, nqn))
	n.must("nvmf_subsystem_add_ns", fmt.Sprintf(`{"nqn":%q,"namespace":{"bdev_name":%q,"nsid":1}}`, nqn, bdev))
	n.must("nvmf_subsystem_add_listener", fmt.Sprintf(
		`{"nqn":%q,"listen_address":{"trtype":"TCP","adrfam":"IPv4","traddr":"127.0.0.1","trsvcid":%q}}`, nqn, port))
}

// setUpStorage exports a file as the volume, setUpDPU attaches it and shows it to hosts: what the
// bridges of the two nodes would do.
func setUpStorage(n *node, file, port string) {
	n.tb.Helper()
	n.must("bdev_aio_create", fmt.Sprintf(`{"name":"vol","filename":%q,"block_size":4096,"uuid":%q}`, file, diskUUID))
	n.export(storageNQN, "vol", port)
}

func setUpDPU(n *node, storagePort, port string) {
	n.tb.Helper()
	got := n.must("bdev_nvme_attach_controller", fmt.Sprintf(`{"name":"remote","trtype":"TCP","adrfam":"IPv4",`+
		`"traddr":"127.0.0.1","trsvcid":%q,"subnqn":%q,"ctrlr_loss_timeout_sec":-1,"reconnect_delay_sec":1}`,
		storagePort, storageNQN))
	if string(got) != `["remoten1"]` {
		n.tb.Fatalf("attached %s", got)
	}
	n.export(dpuNQN, "remoten1", port)
}

// initiate runs a command of opi-dataplane against the host-facing disk and returns its last line.
func initiate(tb testing.TB, port string, args ...string) (map[string]any, error) {
	tb.Helper()
	args = append(args, "--address", "tcp://127.0.0.1:"+port, "--subnqn", dpuNQN, "--json")
	cmd := exec.CommandContext(tb.Context(), binary(tb), args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var last map[string]any
	if jsonErr := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err == nil && jsonErr != nil {
		tb.Fatalf("%q: %v in %s", args, jsonErr, out)
	}
	return last, err
}

// TestDiskThroughTwoNodes carries a disk from a file on a storage node over a DPU to a host, and kills
// the nodes while the host reads and writes: no request fails, no block is wrong, and the disk stays
// the same disk.
func TestDiskThroughTwoNodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newPorts(t)
	storagePort, dpuPort := p.of("storage"), p.of("dpu")
	file := filepath.Join(dir, "volume")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 16*mebibyte); err != nil {
		t.Fatal(err)
	}
	storage, dpu := newNode(t, dir, "storage"), newNode(t, dir, "dpu")
	setUpStorage(storage, file, storagePort)
	setUpDPU(dpu, storagePort, dpuPort)

	identity := func() map[string]any {
		t.Helper()
		report, err := initiate(t, dpuPort, "identify")
		if err != nil {
			t.Fatal(err)
		}
		spaces, _ := report["namespaces"].([]any)
		if len(spaces) != 1 {
			t.Fatalf("the host sees %v", report)
		}
		return spaces[0].(map[string]any) //nolint:forcetypeassert // an object, or the test is wrong
	}
	before := identity()
	if before["uuid"] != diskUUID || before["size_bytes"] != 16.0*mebibyte {
		t.Errorf("the host's disk is %v, want uuid %s and 16 MiB", before, diskUUID)
	}

	load := startLoad(t, dpuPort)
	load.advance()
	storage.restart()
	setUpStorage(storage, file, storagePort)
	load.advance()
	dpu.restart()
	setUpDPU(dpu, storagePort, dpuPort)
	load.advance()
	result := load.end()
	if fmt.Sprint(result["ok"]) != "true" || result["errors"] != 0.0 || result["mismatched_blocks"] != 0.0 {
		t.Errorf("load through two restarts: %v", result)
	}
	if after := identity(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the disk was %v, it is %v", before, after)
	}
	if _, err := initiate(t, dpuPort, "io", "write", "--length", "1048576", "--seed", "7"); err != nil {
		t.Errorf("write: %v", err)
	}
	if report, err := initiate(t, dpuPort, "io", "read", "--length", "1048576", "--seed", "7"); err != nil {
		t.Errorf("read what was written: %v: %v", err, report)
	}
	if _, err := initiate(t, dpuPort, "io", "read", "--length", "1048576", "--seed", "8"); err == nil {
		t.Error("data of another seed passes as right")
	}
}

// runningLoad is an io command that goes on until it is told to end.
type runningLoad struct {
	testing.TB
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func startLoad(tb testing.TB, port string) *runningLoad {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), binary(tb), "io", "verify", "--address", "tcp://127.0.0.1:"+port,
		"--subnqn", dpuNQN, "--json", "--duration", "1h", "--progress", "100ms", "--length", "4194304", "--depth", "8")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = cmd.Process.Kill() })
	return &runningLoad{TB: tb, cmd: cmd, lines: bufio.NewScanner(out)}
}

// next returns the next report.
func (l *runningLoad) next() map[string]any {
	l.Helper()
	if !l.lines.Scan() {
		l.Fatalf("the load has ended: %v", l.lines.Err())
	}
	var report map[string]any
	if err := json.Unmarshal(l.lines.Bytes(), &report); err != nil {
		l.Fatal(err)
	}
	return report
}

// advance waits until requests are done that were not done before: several reports, since the first
// of them may have lain in the pipe.
func (l *runningLoad) advance() {
	l.Helper()
	limit := time.AfterFunc(patience, func() { _ = l.cmd.Process.Kill() })
	defer limit.Stop()
	for range 5 {
		if report := l.next(); report["event"] == "result" {
			l.Fatalf("the load has ended by itself: %v", report)
		}
	}
}

// end has the load look at everything once more, and returns its result.
func (l *runningLoad) end() map[string]any {
	l.Helper()
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		l.Fatal(err)
	}
	limit := time.AfterFunc(patience, func() { _ = l.cmd.Process.Kill() })
	defer limit.Stop()
	for {
		if report := l.next(); report["event"] == "result" {
			if err := l.cmd.Wait(); err != nil {
				l.Errorf("exit status of the load: %v", err)
			}
			return report
		}
	}
}
