// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"fmt"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// maxNamespaces bounds the bdevs that one controller brings; SPDK takes 128 otherwise.
const maxNamespaces = 1024

// createPath attaches a path. The call goes on when the caller gives up, and its locks are kept until
// SPDK has answered, because of two attaches of one connection at the same time both succeed.
func (d *Driver) createPath(ctx context.Context, step *driver.Step, p *driver.Path) error {
	unlock, err := d.lockPath(ctx, p)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		unlock()
		return stopped(ctx)
	}
	outcome := make(chan error, 1)
	started := d.leftover.start(func() {
		defer unlock()
		outcome <- d.attach(context.WithoutCancel(ctx), step, p)
	})
	if !started {
		unlock()
		return errdefs.New(errdefs.Unavailable, "attach %s: the driver has been stopped", name(p))
	}
	select {
	case err = <-outcome:
		return err
	case <-ctx.Done():
		return errdefs.Wrap(errdefs.OutcomeUnknown, context.Cause(ctx), "attach %s: given up before the answer came", name(p))
	}
}

// lockPath takes the locks that keep SPDK's attaches apart, and returns how to give them back.
func (d *Driver) lockPath(ctx context.Context, p *driver.Path) (unlock func(), err error) {
	a := p.Address.Canonical()
	keys := []string{strings.Join([]string{"connection", a.String(), p.SubsystemNQN, p.HostNQN}, " ")}
	if p.Multipath == driver.MultipathFailover || p.Multipath == driver.MultipathDisable {
		// The second path must meet the controller that the first has made. With "multipath" the paths
		// find together by themselves, and one that is dead does not hold up the others.
		keys = []string{"controller " + p.Controller, keys[0]}
	}
	for i, key := range keys {
		if err := d.attaches.lock(ctx, key); err != nil {
			for _, taken := range keys[:i] {
				d.attaches.unlock(taken)
			}
			return nil, fmt.Errorf("%s: an earlier call for it has not been answered yet: %w", name(p), err)
		}
	}
	return func() {
		for _, key := range keys {
			d.attaches.unlock(key)
		}
	}, nil
}

// attach makes the call and finds out what a refusal means.
func (d *Driver) attach(ctx context.Context, step *driver.Step, p *driver.Path) error {
	const method = "bdev_nvme_attach_controller"
	a := p.Address.Canonical()
	if p.TLSKey != "" && !encrypts(a.Transport) {
		return errdefs.New(errdefs.FailedPrecondition,
			"attach %s: the controller has a pre-shared key, and %s cannot encrypt: use TCP, or a controller without a key", name(p), a.Transport)
	}
	params := spdkrpc.NvmeAttach{
		Name: p.Controller, Trtype: string(a.Transport), Traddr: a.Traddr, Adrfam: string(family(a)), Trsvcid: a.Trsvcid,
		Subnqn: p.SubsystemNQN, Hostnqn: p.HostNQN, Hostaddr: p.SourceTraddr, Hostsvcid: p.SourceTrsvcid,
		Hdgst: p.HeaderDigest, Ddgst: p.DataDigest, Multipath: string(p.Multipath), NumIOQueues: p.IOQueues,
		CtrlrLossTimeoutSec: lossTimeout, ReconnectDelaySec: reconnectDelay, FastIOFailTimeoutSec: fastFail,
		MaxBdevs: maxNamespaces, Psk: d.psk(p.TLSKey),
	}
	if params.Multipath == "" {
		params.Multipath = string(driver.MultipathMultipath)
	}
	sess, _ := d.now()
	bdevs, err := params.Do(ctx, d.client)
	if err == nil {
		sess.brought.note(p.Controller, bdevs, false)
		sess.transports.attached(a.Transport, "")
		return nil
	}
	if settled(err) {
		return plain(method, err, "attach %s", name(p))
	}
	switch spdkrpc.Refusal(err).Code {
	case spdkrpc.CodeIO, spdkrpc.CodeTimedOut:
		check := "check address, port, subsystem NQN and its list of hosts"
		switch {
		case p.TLSKey != "":
			check += ", and that it listens with TLS and has the same TLS key for us"
		case a.Transport == driver.TransportRDMA:
			check += ", and that a device with RDMA leads there"
		case a.Transport == driver.TransportTCP:
			check += ", and whether it listens with TLS, for which the path needs a TLS key"
		}
		return errdefs.Wrap(errdefs.Unavailable, err,
			"attach %s: the target cannot be reached there, or does not let us in: %s", name(p), check).WithInfo(driver.ReasonTargetUnreachable, metadata(method, spdkrpc.Refusal(err)))
	case spdkrpc.CodeRange:
		// The controller has more namespaces than SPDK could name in its answer. It is attached.
		sess.brought.note(p.Controller, nil, true)
		return nil
	case spdkrpc.CodeNotSupported:
		if p.TLSKey != "" {
			return refuse(errdefs.Unimplemented, method, err,
				"attach %s: this data plane has no TLS with pre-shared keys: leave the key out, or use a data plane that has it", name(p))
		}
	case spdkrpc.CodeNoKey:
		return refuse(errdefs.FailedPrecondition, method, err, "attach %s: TLS key %s does not exist", name(p), p.TLSKey)
	case spdkrpc.CodeNoDevice:
		if p.TLSKey != "" {
			return refuse(errdefs.FailedPrecondition, method, err,
				"attach %s: TLS key %s is not one that the data plane can use: it must be in the interchange format, and its file readable", name(p), p.TLSKey)
		}
		if a.Transport == driver.TransportRDMA {
			sess.transports.attached(a.Transport, transportLack(a.Transport))
		}
		return refuse(errdefs.FailedPrecondition, method, err, "attach %s: the data plane has no device for %s", name(p), a.Transport)
	}
	return d.explainAttach(ctx, step, p, method, err)
}

// explainAttach looks at the controllers that are there.
func (d *Driver) explainAttach(ctx context.Context, step *driver.Step, p *driver.Path, method string, err error) error {
	controllers, lookErr := spdkrpc.GetNvmeControllers(ctx, d.client)
	if lookErr != nil {
		return plain("bdev_nvme_get_controllers", lookErr, "look for path %s", name(p))
	}
	var same *driver.Path
	connection := p.Address.Canonical()
	for i := range controllers {
		for _, other := range pathObjects(&controllers[i]) {
			switch {
			case other.Key() == p.Key():
				return exists(step, other, method, err)
			case other.Address == connection && other.SubsystemNQN == p.SubsystemNQN &&
				spdkrpc.Refusal(err).Code == spdkrpc.CodeExists:
				return refuse(errdefs.AlreadyExists, method, err,
					"attach %s: controller %s has this connection already: delete it there, or use another host NQN", name(p), other.Controller)
			case other.Controller == p.Controller:
				same = other
			}
		}
	}
	switch {
	case same != nil && p.Multipath == driver.MultipathDisable:
		return refuse(errdefs.FailedPrecondition, method, err,
			"attach %s: the controller has the path %s, and multipath is disabled", name(p), same.Address)
	case same != nil:
		return refuse(errdefs.InvalidArgument, method, err,
			"attach %s: it does not go with the controller's other path, %s of subsystem %s as host %s: subsystem, host NQN and multipath mode must be the same",
			name(p), same.Address, same.SubsystemNQN, same.HostNQN)
	}
	return plain(method, err, "attach %s", name(p))
}

// deletePath detaches exactly one path. Nothing is to be done if it is not there.
func (d *Driver) deletePath(ctx context.Context, p *driver.Path) error {
	unlock, err := d.lockPath(ctx, p)
	if err != nil {
		return err
	}
	defer unlock()
	const method = "bdev_nvme_detach_controller"
	a := p.Address.Canonical()
	err = spdkrpc.NvmeDetach{
		Name: p.Controller, Trtype: string(a.Transport), Traddr: a.Traddr, Adrfam: string(family(a)),
		Trsvcid: a.Trsvcid, Subnqn: p.SubsystemNQN,
	}.Do(ctx, d.client)
	switch r := spdkrpc.Refusal(err); {
	case err == nil:
		return nil
	case r != nil && (r.Code == spdkrpc.CodeNoDevice || r.Code == spdkrpc.CodeNxIO):
		return nil
	}
	return plain(method, err, "detach %s", name(p))
}

// name names a path for people.
func name(p *driver.Path) string {
	return fmt.Sprintf("%s of controller %s to subsystem %s", p.Address, p.Controller, p.SubsystemNQN)
}
