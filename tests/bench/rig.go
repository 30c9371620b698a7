// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// rig is the system under measurement: a store, a data plane and a bridge, as processes.
type rig struct {
	settings
	dir       string
	storeURL  string
	grpcAddr  string
	httpAddr  string
	nvmePort  int
	redis     *exec.Cmd
	dataPlane *exec.Cmd
	bridge    *exec.Cmd
	conn      *grpc.ClientConn
	http      http.Client
}

func (r *rig) start(ctx context.Context) error {
	if err := r.startStore(ctx); err != nil {
		return err
	}
	switch {
	case r.command != "" && r.spdk == "":
		return errors.New("--start needs --spdk, the address at which the data plane will be")
	case r.command != "":
		if err := r.startDataPlane(ctx); err != nil {
			return err
		}
	case r.spdk == "":
		r.spdk = "unix://" + filepath.Join(r.dir, "rpc.sock")
		if err := r.startDataPlane(ctx); err != nil {
			return err
		}
	}
	var err error
	if r.grpcAddr, err = freeAddress(ctx); err != nil {
		return err
	}
	if r.httpAddr, err = freeAddress(ctx); err != nil {
		return err
	}
	hosts, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	_, port, _ := strings.Cut(hosts, ":")
	if _, err := fmt.Sscan(port, &r.nvmePort); err != nil {
		return err
	}
	if err := r.startBridge(ctx); err != nil {
		return err
	}
	r.conn, err = grpc.NewClient("dns:///"+r.grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return err
}

func (r *rig) startStore(ctx context.Context) error {
	switch r.store {
	case "bolt":
		r.storeURL = "bolt://" + filepath.Join(r.dir, "state.db")
		return nil
	case "redis":
	default:
		r.storeURL = r.store
		return nil
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	_, port, _ := strings.Cut(address, ":")
	r.redis = command(ctx, "redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", r.dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "")
	r.storeURL = "redis://" + address + "/0"
	if err := r.redis.Start(); err != nil {
		return err
	}
	return until(ctx, func() error { return dials(ctx, "tcp", address) })
}

func (r *rig) startDataPlane(ctx context.Context) error {
	r.dataPlane = command(ctx, r.program("opi-dataplane"), "serve", "--rpc-listen", r.spdk, "--log-level", "warn")
	if r.settings.command != "" {
		r.dataPlane = command(ctx, "sh", "-c", "exec "+r.settings.command)
		r.dataPlane.Stderr = nil // it says much
	}
	if err := r.dataPlane.Start(); err != nil {
		return err
	}
	return until(ctx, func() error {
		network, address, _ := strings.Cut(r.spdk, "://")
		return dials(ctx, network, address)
	})
}

func (r *rig) startBridge(ctx context.Context) error {
	r.bridge = command(ctx, r.program("opi-bridge"), "serve", "--grpc-listen", r.grpcAddr, "--http-listen", r.httpAddr,
		"--spdk", r.spdk, "--store", r.storeURL, "--instance", "bench", "--log-level", "warn")
	if err := r.bridge.Start(); err != nil {
		return err
	}
	return r.ready(ctx, true)
}

// ready waits until /readyz says so, or says the opposite.
func (r *rig) ready(ctx context.Context, want bool) error {
	return until(ctx, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.httpAddr+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := r.http.Do(req)
		if err != nil {
			if want {
				return err
			}
			return nil
		}
		_ = resp.Body.Close()
		if (resp.StatusCode == http.StatusOK) != want {
			return fmt.Errorf("/readyz answers %s", resp.Status)
		}
		return nil
	})
}

func (r *rig) stop() {
	if r.conn != nil {
		_ = r.conn.Close()
	}
	for _, c := range []*exec.Cmd{r.bridge, r.dataPlane, r.redis} {
		if c != nil && c.Process != nil {
			_ = c.Process.Signal(syscall.SIGTERM)
			_ = c.Wait()
		}
	}
}

// kill ends a process as a crash would.
func kill(c *exec.Cmd) {
	_ = c.Process.Kill()
	_ = c.Wait()
}

func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...) //nolint:gosec // programs and arguments are this command's own
	c.Stderr = os.Stderr
	return c
}

func dials(ctx context.Context, network, address string) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// until tries again and again, for two minutes at most.
func until(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// freeAddress returns one below the ports that the kernel gives to outgoing connections, so that what is
// killed and started again finds its port free.
func freeAddress(ctx context.Context) (string, error) {
	const lowest, count, tries = 10_000, 20_000, 100
	var last error
	for range tries {
		address := fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(count)) //nolint:gosec // no secret
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err == nil {
			return address, l.Close()
		}
		last = err
	}
	return "", fmt.Errorf("find a free port: %w", last)
}
