// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

const testNQN = "nqn.2016-06.io.spdk:cnode1"

// exported runs a target with one namespace of 1 MiB and returns its address.
func exported(t *testing.T) string {
	t.Helper()
	device, err := bdev.NewMalloc(bdev.MallocOptions{BlockSizeBytes: 512, Blocks: 2048})
	if err != nil {
		t.Fatal(err)
	}
	tgt, err := target.New(target.Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = tgt.Close()
		_ = device.Close()
	})
	at := target.Address{TRADDR: "127.0.0.1", TRSVCID: "0"}
	if err := tgt.CreateTransport(target.TransportOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := tgt.CreateSubsystem(target.SubsystemConfig{NQN: testNQN, SerialNumber: "SN1", AllowAnyHost: true}); err != nil {
		t.Fatal(err)
	}
	id := uuid.MustParse("11111111-1111-4111-8111-111111111111")
	if _, err := tgt.AddNamespace(testNQN, target.NamespaceConfig{
		NSID: 3, Device: device, UUID: id, NGUID: id, EUI64: [8]byte{1, 2, 3, 4, 5, 6, 7, 8},
	}); err != nil {
		t.Fatal(err)
	}
	bound, err := tgt.AddListener(t.Context(), testNQN, target.ListenerConfig{Address: at})
	if err != nil {
		t.Fatal(err)
	}
	return "tcp://" + net.JoinHostPort(bound.TRADDR, bound.TRSVCID)
}

func (s *initiatorSettings) at(address string) {
	*s = initiatorSettings{address: address, subnqn: testNQN, queues: 1, json: true, log: logSettings{level: "warn", format: "text"}}
}

func TestIdentifyPrintsTheIdentity(t *testing.T) {
	var s initiatorSettings
	s.at(exported(t))
	var out bytes.Buffer
	if err := identify(t.Context(), &out, &s); err != nil {
		t.Fatal(err)
	}
	var got subsystemReport
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := namespaceReport{
		NSID: 3, UUID: "11111111-1111-4111-8111-111111111111", NGUID: "11111111111141118111111111111111",
		EUI64: "0102030405060708", BlockSize: 512, Blocks: 2048, Size: 1 << 20,
	}
	if got.Serial != "SN1" || len(got.Namespaces) != 1 || got.Namespaces[0] != want {
		t.Errorf("identified %+v, want serial SN1 and %+v", got, want)
	}
	s.json = false
	out.Reset()
	if err := identify(t.Context(), &out, &s); err != nil || !strings.Contains(out.String(), want.UUID) {
		t.Errorf("for people: %v\n%s", err, &out)
	}
}

func TestIOModes(t *testing.T) {
	var s ioSettings
	s.at(exported(t))
	s.nsid, s.size, s.depth, s.seed, s.writePercent, s.operations = 3, 4096, 4, 1, 50, 500
	run := func(name string) (ioReport, error) {
		t.Helper()
		for _, mode := range ioModes() {
			if mode.name != name {
				continue
			}
			var out bytes.Buffer
			err := runIO(t.Context(), &out, &mode, &s)
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			var report ioReport
			if jsonErr := json.Unmarshal([]byte(lines[len(lines)-1]), &report); jsonErr != nil {
				t.Fatalf("%s: %v: %s", name, jsonErr, &out)
			}
			return report, err
		}
		t.Fatalf("no mode %q", name)
		return ioReport{}, nil
	}
	for _, name := range []string{"write", "read", "verify", "bench"} {
		report, err := run(name)
		if err != nil || !report.OK || report.Errors+report.Mismatched > 0 || report.Reads+report.Writes < 256 {
			t.Errorf("%s: %v: %+v", name, err, report)
		}
	}
	report, err := run("read") // verify and bench have written over it
	if err == nil || report.OK || report.Mismatched == 0 || len(report.Mismatches) == 0 {
		t.Errorf("wrong data passes as right: %v: %+v", err, report)
	}
	s.nsid = 1
	if err := runIO(t.Context(), &bytes.Buffer{}, &ioModes()[0], &s); err == nil || !strings.Contains(err.Error(), "it has: 3") {
		t.Errorf("a namespace that is not there: %v", err)
	}
}

func TestInitiatorRefusals(t *testing.T) {
	address := exported(t)
	for _, row := range []struct {
		args []string
		want int
	}{
		{[]string{"io"}, exitUsage},
		{[]string{"io", "erase"}, exitUsage},
		{[]string{"io", "write", "--subnqn", testNQN}, exitUsage},
		{[]string{"io", "write", "--address", "127.0.0.1:4420", "--subnqn", testNQN}, exitUsage},
		{[]string{"io", "write", "--address", address}, exitUsage},
		{[]string{"io", "write", "--address", address, "--subnqn", testNQN, "--nsid", "3", "--size", "1000"}, exitUsage},
		{[]string{"io", "write", "--address", address, "--subnqn", testNQN, "--nsid", "3", "--offset", "7"}, exitUsage},
		{[]string{"io", "bench", "--address", address, "--subnqn", testNQN, "--nsid", "3", "--write-percent", "101"}, exitUsage},
		{[]string{"identify", "--address", address, "--subnqn", testNQN + "2"}, exitFailed},
		{[]string{"identify", "--address", fmt.Sprintf("tcp://%s", closedPort(t)), "--subnqn", testNQN}, exitFailed},
	} {
		if got := run(t.Context(), row.args); got != row.want {
			t.Errorf("%q: exit status %d, want %d", row.args, got, row.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := run(ctx, []string{"identify", "--address", "tcp://" + closedPort(t), "--subnqn", testNQN, "--wait", "1h"}); got != exitFailed {
		t.Errorf("an interrupted wait: exit status %d, want %d", got, exitFailed)
	}
}

// closedPort returns an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return netip.MustParseAddrPort(l.Addr().String()).String()
}
