// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

// BridgeConfig says how to start a bridge.
type BridgeConfig struct {
	// SPDK is where the data plane's JSON-RPC is: unix:///path or tcp://host:port. Required.
	SPDK string
	// Store is the URL of the store. Required.
	Store string
	// Instance is its name. Empty is "test".
	Instance string
	// WaitFor is the HTTP path that must answer 200 before Start returns. Empty is /readyz; /healthz
	// suits tests in which the data plane or the store is away.
	WaitFor string
	// Flags are further ones.
	Flags []string
	// Under is a program with its first arguments that gets the bridge's command line as further ones
	// and becomes it in the end. Empty starts the bridge itself.
	Under []string
}

// BridgeProcess is a running opi-bridge. Its methods are for the test's own goroutine.
type BridgeProcess struct {
	p          *process
	grpc, http string
	waitFor    string
}

// Bridge builds and starts `opi-bridge serve` on free ports of loopback, and waits until it is ready.
func Bridge(tb testing.TB, cfg BridgeConfig) *BridgeProcess {
	tb.Helper()
	if cfg.Instance == "" {
		cfg.Instance = "test"
	}
	if cfg.WaitFor == "" {
		cfg.WaitFor = "/readyz"
	}
	loopback := func() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(FreePort(tb))) }
	b := &BridgeProcess{grpc: loopback(), http: loopback(), waitFor: cfg.WaitFor}
	args := append([]string{
		"serve", "--grpc-listen", b.grpc, "--http-listen", b.http,
		"--spdk", cfg.SPDK, "--store", cfg.Store, "--instance", cfg.Instance,
	}, cfg.Flags...)
	line := append(slices.Clone(cfg.Under), Program(tb, "opi-bridge"))
	line = append(line, args...)
	b.p = newProcess(tb, line[0], line[1:]...)
	b.Start()
	return b
}

// GRPCAddr returns host:port of gRPC.
func (b *BridgeProcess) GRPCAddr() string { return b.grpc }

// HTTPAddr returns host:port of REST, metrics and health.
func (b *BridgeProcess) HTTPAddr() string { return b.http }

// Start starts it after Stop or Kill, on the same ports, and waits until it is ready.
func (b *BridgeProcess) Start() {
	b.p.tb.Helper()
	b.Launch()
	b.Await()
}

// Launch starts it and does not wait.
func (b *BridgeProcess) Launch() { b.p.tb.Helper(); b.p.start() }

// Await waits until it is ready; the test fails when it ends before that.
func (b *BridgeProcess) Await() {
	b.p.tb.Helper()
	b.p.await(func() error { return b.get(b.waitFor) })
}

// get asks for a path and wants 200.
func (b *BridgeProcess) get(path string) error {
	request, err := http.NewRequestWithContext(b.p.tb.Context(), http.MethodGet, "http://"+b.http+path, nil)
	if err != nil {
		return err
	}
	// A transport of its own, so that no connection is left open behind the test.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxOutputBytes))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s says %s: %s", path, response.Status, body)
	}
	return nil
}

// Stop ends it in order; the test fails if it ends with an error.
func (b *BridgeProcess) Stop() {
	b.p.tb.Helper()
	if err := b.p.stop(); err != nil {
		b.p.tb.Errorf("opi-bridge ended with %v", err)
	}
}

// Kill ends it at once, as a crash does.
func (b *BridgeProcess) Kill() { b.p.kill() }

// Restart kills and starts it.
func (b *BridgeProcess) Restart() { b.p.tb.Helper(); b.Kill(); b.Start() }

// Pause freezes it: connections stay, nothing is answered.
func (b *BridgeProcess) Pause() { b.p.tb.Helper(); b.p.pause() }

// Resume lets it go on.
func (b *BridgeProcess) Resume() { b.p.tb.Helper(); b.p.signal(syscall.SIGCONT) }

// Running says whether it was started and has not ended.
func (b *BridgeProcess) Running() bool { return b.p.running() }

// PID returns the number of the process that runs.
func (b *BridgeProcess) PID() int { return b.p.cmd.Process.Pid }

// Output returns the last of what it printed.
func (b *BridgeProcess) Output() string { return b.p.output.String() }
