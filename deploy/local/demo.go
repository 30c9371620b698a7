// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// demoTime is how long `make demo` may take in all.
const demoTime = 60 * time.Second

// demo is `make demo`: it starts both nodes in a fresh directory, reads and writes through the disk
// that a host would see, kills what can be killed while I/O runs, and checks that the disk is still
// the same disk with the same bytes. It returns nil only if all of that held.
func demo(ctx context.Context, bin string, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, demoTime, fmt.Errorf("the demonstration took longer than %v", demoTime))
	defer cancel()
	dir, err := os.MkdirTemp("", "opi-demo-")
	if err != nil {
		return fmt.Errorf("making a directory for the demonstration: %w", err)
	}
	defer func() {
		// The logs of a failure are worth more than a clean machine.
		if err != nil {
			fmt.Fprintf(out, "\nThe state and the logs of the failure are in %s\n", dir)
			return
		}
		err = os.RemoveAll(dir)
	}()
	l, err := freeLayout(ctx, bin, dir)
	if err != nil {
		return err
	}
	begin := time.Now()
	d := &demonstration{layout: l, steps: steps{out: out}}
	fmt.Fprintf(out, "A disk of the storage node, shown to a host by the DPU:\n"+
		"  host -- NVMe/TCP %s --> DPU -- NVMe/TCP %s --> storage node --> file\n\n", l.dpu.nvme(), l.storage.nvme())
	d.show(ctx)
	err = errors.Join(d.err, d.close())
	if err == nil {
		fmt.Fprintf(out, "\nAll held, in %v: one disk, the same identity, every byte, no I/O error.\n", time.Since(begin).Round(100*time.Millisecond))
	}
	return err
}

// demonstration is what the steps of a demo share.
type demonstration struct {
	layout
	steps

	storageNode, dpuNode *node
	before               identity
	load                 *load
}

// show carries out all steps.
func (d *demonstration) show(ctx context.Context) {
	disk := hostDisk(d.layout)
	d.do(ctx, "start the storage node", alone(func(ctx context.Context) (err error) {
		d.storageNode, err = startNode(ctx, d.bin, d.storage)
		return err
	}))
	d.do(ctx, "create a volume there, show it over NVMe/TCP (OPI API)", alone(func(ctx context.Context) error {
		return provisionStorage(ctx, d.storage)
	}))
	d.do(ctx, "start the DPU", alone(func(ctx context.Context) (err error) {
		d.dpuNode, err = startNode(ctx, d.bin, d.dpu)
		return err
	}))
	d.do(ctx, "attach the volume, show it as a host's disk (OPI API)", alone(func(ctx context.Context) error {
		return provisionDPU(ctx, d.dpu, d.storage)
	}))
	d.do(ctx, "the host looks at its disk", func(ctx context.Context) (_ string, err error) {
		d.before, err = disk.identify(ctx)
		return d.before.String(), err
	})
	d.do(ctx, "write 64 MiB with checksums, read them back", disk.write)
	d.do(ctx, "begin to read and write, and to check, without a pause", alone(func(ctx context.Context) (err error) {
		d.load, err = disk.startLoad(ctx, d.dir)
		return err
	}))
	d.breaks(ctx, "kill -9 the DPU's bridge: I/O does not notice", func(context.Context) error { return d.dpuNode.bridge.kill() })
	d.breaks(ctx, "start it again", func(ctx context.Context) error { return d.dpuNode.startBridge(ctx) })
	d.breaks(ctx, "kill -9 the DPU's data plane, start it: I/O waits", func(ctx context.Context) error {
		return restartDataplane(ctx, d.dpuNode)
	})
	d.breaks(ctx, "kill -9 the storage node's data plane, start it", func(ctx context.Context) error {
		return restartDataplane(ctx, d.storageNode)
	})
	d.breaks(ctx, "kill -9 all four programs, start them again", d.restartAll)
	d.do(ctx, "end the I/O: no error, no wrong byte", func(context.Context) (string, error) { return d.load.end() })
	d.do(ctx, "read the first 64 MiB back", disk.verify)
	d.do(ctx, "stop everything", alone(func(context.Context) error { return d.close() }))
}

// breaks is a step that does something to the nodes; after it, I/O must go on, and the host must
// see the disk that it saw at first.
func (d *demonstration) breaks(ctx context.Context, title string, what func(context.Context) error) {
	d.do(ctx, title, func(ctx context.Context) (string, error) {
		detail, err := d.load.goesOn(ctx, func() error { return what(ctx) })
		if err != nil {
			return "", err
		}
		return detail + ", the same disk", d.same(ctx)
	})
}

// same checks that the host's disk has the identity it had at first.
func (d *demonstration) same(ctx context.Context) error {
	now, err := hostDisk(d.layout).identify(ctx)
	if err != nil {
		return err
	}
	if now != d.before {
		return fmt.Errorf("%w: it was %v, it is %v", errDiffers, d.before, now)
	}
	return nil
}

// restartDataplane kills a node's data plane, starts a new one, and waits until the bridge has put
// back everything into it.
func restartDataplane(ctx context.Context, n *node) error {
	if err := n.dataplane.kill(); err != nil {
		return err
	}
	if err := n.startDataplane(ctx); err != nil {
		return err
	}
	return n.settled(ctx)
}

// restartAll is what a power cut of both machines does to the programs.
func (d *demonstration) restartAll(ctx context.Context) error {
	nodes := []*node{d.dpuNode, d.storageNode}
	var errs []error
	for _, n := range nodes {
		errs = append(errs, n.bridge.kill(), n.dataplane.kill())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	// The DPU comes first, so that it has to wait for its storage node.
	for _, n := range nodes {
		if err := n.startDataplane(ctx); err != nil {
			return err
		}
		if err := n.launchBridge(ctx); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		if err := n.settled(ctx); err != nil {
			return err
		}
	}
	return nil
}

// close ends what is still running. It may be called more than once.
func (d *demonstration) close() error {
	var errs []error
	if d.load != nil {
		errs = append(errs, d.load.stop())
	}
	for _, n := range []*node{d.dpuNode, d.storageNode} {
		if n != nil {
			errs = append(errs, n.stop())
		}
	}
	return errors.Join(errs...)
}
