// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"syscall"
)

// loopback is the only address that the nodes listen on.
const loopback = "127.0.0.1"

// maxSocketPath is what a Unix socket address holds, without the final zero byte.
const maxSocketPath = 107

// layout says where everything is: programs, state and addresses.
type layout struct {
	// bin holds the programs, dir the state of both nodes. Both are absolute.
	bin, dir string
	// storage exports the volume, dpu imports it and shows it to hosts.
	storage, dpu place
}

// place is where one node lives.
type place struct {
	// name is the node's name and its bridge's instance.
	name string
	// dir holds the node's state and logs.
	dir string
	// grpcPort and httpPort are the bridge's, nvmePort is the data plane's NVMe/TCP listener.
	grpcPort, httpPort, nvmePort int
}

func (p place) grpc() string              { return address(p.grpcPort) }
func (p place) http() string              { return address(p.httpPort) }
func (p place) nvme() string              { return address(p.nvmePort) }
func (p place) rpc() string               { return filepath.Join(p.dir, "rpc.sock") }
func (p place) store() string             { return filepath.Join(p.dir, "state.db") }
func (p place) volume() string            { return filepath.Join(p.dir, "volume0.img") }
func address(port int) string             { return net.JoinHostPort(loopback, strconv.Itoa(port)) }
func (p place) log(program string) string { return filepath.Join(p.dir, program+".log") }

// fixedLayout is that of `make run`. The ports are documented in README.md.
func fixedLayout(bin, dir string) layout {
	return layout{
		bin: bin, dir: dir,
		storage: place{"storage", filepath.Join(dir, "storage"), 50061, 8092, 4430},
		dpu:     place{"dpu", filepath.Join(dir, "dpu"), 50051, 8082, 4420},
	}
}

// freeLayout has ports that nobody uses at the moment, so that it does not meet `make run`, another
// demo, or anything else.
func freeLayout(ctx context.Context, bin, dir string) (layout, error) {
	l := fixedLayout(bin, dir)
	ports := []*int{
		&l.storage.grpcPort, &l.storage.httpPort, &l.storage.nvmePort,
		&l.dpu.grpcPort, &l.dpu.httpPort, &l.dpu.nvmePort,
	}
	for _, port := range ports {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address(0))
		if err != nil {
			return layout{}, fmt.Errorf("looking for a free port: %w", err)
		}
		// All stay open until all are found, so that no port is found twice.
		defer listener.Close() //nolint:revive // six of them, on purpose
		addr, ok := listener.Addr().(*net.TCPAddr)
		if !ok {
			return layout{}, fmt.Errorf("looking for a free port: got the address %v", listener.Addr())
		}
		*port = addr.Port
	}
	return l, nil
}

// check returns an error that names everything which would keep the nodes from starting: paths that
// are too long, and ports that somebody else listens on.
func (l layout) check(ctx context.Context) error {
	var found []error
	for _, p := range []place{l.storage, l.dpu} {
		if n := len(p.rpc()); n > maxSocketPath {
			found = append(found, fmt.Errorf("%s: %d bytes are too long for a socket's path (at most %d): move the tree, or use --dir",
				p.rpc(), n, maxSocketPath))
		}
		for what, port := range map[string]int{"gRPC": p.grpcPort, "HTTP": p.httpPort, "NVMe/TCP": p.nvmePort} {
			listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address(port))
			switch {
			case err == nil:
				listener.Close()
			case errors.Is(err, syscall.EADDRINUSE):
				found = append(found, fmt.Errorf("%s, for the %s node's %s, is taken: `ss -ltnp 'sport = :%d'` says by whom",
					address(port), p.name, what, port))
			default:
				found = append(found, fmt.Errorf("%s node's %s: %w", p.name, what, err))
			}
		}
	}
	return errors.Join(found...)
}
