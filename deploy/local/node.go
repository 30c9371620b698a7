// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// node is a data plane and a bridge that have been started.
type node struct {
	place

	bin               string
	dataplane, bridge *process
}

// startNode makes the node's directory and starts its programs. After an error nothing is left running.
func startNode(ctx context.Context, bin string, p place) (*node, error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the %s node's directory: %w", p.name, err)
	}
	n := &node{place: p, bin: bin}
	if err := n.startDataplane(ctx); err != nil {
		return nil, errors.Join(err, n.stop())
	}
	if err := n.startBridge(ctx); err != nil {
		return nil, errors.Join(err, n.stop())
	}
	return n, nil
}

// startDataplane starts the data plane and waits until it takes calls.
func (n *node) startDataplane(ctx context.Context) error {
	p, err := start(ctx, n.dataplaneCommand())
	if err != nil {
		return err
	}
	n.dataplane = p
	return answers(ctx, p, n.rpc())
}

// startBridge starts the bridge and waits until it and all its resources are ready.
func (n *node) startBridge(ctx context.Context) error {
	if err := n.launchBridge(ctx); err != nil {
		return err
	}
	return n.settled(ctx)
}

// launchBridge starts the bridge and does not wait.
func (n *node) launchBridge(ctx context.Context) error {
	p, err := start(ctx, n.bridgeCommand())
	if err == nil {
		n.bridge = p
	}
	return err
}

// settled waits until the bridge serves and everything that was asked of it is there.
func (n *node) settled(ctx context.Context) error { return settled(ctx, n.bridge, n.http()) }

// stop ends the node's programs, the bridge first.
func (n *node) stop() error {
	var errs []error
	for _, p := range []*process{n.bridge, n.dataplane} {
		if p != nil {
			errs = append(errs, p.stop())
		}
	}
	return errors.Join(errs...)
}

func (n *node) dataplaneCommand() command {
	return n.command("opi-dataplane", "serve", "--rpc-listen", "unix://"+n.rpc())
}

func (n *node) bridgeCommand() command {
	return n.command("opi-bridge", "serve",
		"--grpc-listen", n.grpc(), "--http-listen", n.http(),
		"--spdk", "unix://"+n.rpc(), "--store", "bolt://"+n.store(), "--instance", n.name)
}

func (n *node) command(program string, args ...string) command {
	return command{node: n.name, program: program, path: filepath.Join(n.bin, program), args: args, log: n.log(program)}
}
