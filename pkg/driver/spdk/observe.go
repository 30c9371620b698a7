// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// held is what SPDK says that it holds.
type held struct {
	bdevs       []spdkrpc.Bdev
	subsystems  []spdkrpc.NvmfSubsystem
	controllers []spdkrpc.NvmeController
	cryptoKeys  []spdkrpc.AccelCryptoKey
	keys        []spdkrpc.KeyringKey
	vhosts      []spdkrpc.VhostController
}

// Observe implements [driver.Driver]: a handful of calls, sent together, and one more for each remote
// namespace that is new. What an SPDK lacks the methods for it cannot hold.
func (d *Driver) Observe(ctx context.Context) (*driver.Observation, error) {
	sess, epoch := d.now()
	h, err := d.askAll(ctx, sess)
	if err != nil {
		return nil, err
	}
	if _, after := d.now(); after != epoch {
		return nil, errdefs.New(errdefs.Unavailable, "the data plane was connected anew while it was observed: try again")
	}
	o := &driver.Observation{
		Epoch: epoch, Objects: make(map[driver.Key]driver.Object, len(h.bdevs)+3*len(h.subsystems)), Firmware: sess.firmware,
	}
	add := func(objects ...driver.Object) {
		for _, object := range objects {
			o.Objects[object.Key()] = object
		}
	}
	left, usedForAMoment := consumers(h.subsystems)
	var remote []*driver.Bdev
	for i := range h.bdevs {
		b := bdevObject(&h.bdevs[i])
		b.Claimed = b.Claimed && !usedForAMoment[b.Name]
		if b.Nvme != nil {
			remote = append(remote, b)
		}
		add(b)
		if l := limitsObject(&h.bdevs[i]); l != nil {
			add(l)
		}
	}
	for i := range h.subsystems {
		if !isConsumer(h.subsystems[i].NQN) {
			add(d.subsystemObjects(&h.subsystems[i])...)
		}
	}
	for i := range h.controllers {
		for _, p := range pathObjects(&h.controllers[i]) {
			add(p)
		}
	}
	for i := range h.cryptoKeys {
		add(cryptoKeyObject(&h.cryptoKeys[i]))
	}
	add(d.tlsKeyObjects(sess, h.keys)...)
	for i := range h.vhosts {
		add(sess.vhostObjects(&h.vhosts[i])...)
	}
	d.identify(ctx, sess, epoch, remote, h.controllers, true)
	sess.brought.saw(o.Objects)
	d.sweepConsumers(ctx, left)
	return o, nil
}

// consumers returns the subsystems that make a bdev used for a moment, and their bdevs.
func consumers(subsystems []spdkrpc.NvmfSubsystem) (nqns []string, bdevs map[string]bool) {
	for i := range subsystems {
		s := &subsystems[i]
		if !isConsumer(s.NQN) {
			continue
		}
		nqns = append(nqns, s.NQN)
		if bdevs == nil {
			bdevs = make(map[string]bool)
		}
		for _, n := range s.Namespaces {
			bdevs[n.BdevName] = true
		}
	}
	return nqns, bdevs
}

// askAll asks for everything that this SPDK has methods for.
func (d *Driver) askAll(ctx context.Context, sess session) (*held, error) {
	var h held
	asks := []struct {
		method string
		ask    func() error
	}{
		{"bdev_get_bdevs", func() (err error) { h.bdevs, err = spdkrpc.GetBdevs(ctx, d.client); return err }},
		{"nvmf_get_subsystems", func() (err error) { h.subsystems, err = spdkrpc.GetNvmfSubsystems(ctx, d.client); return err }},
		{"bdev_nvme_get_controllers", func() (err error) { h.controllers, err = spdkrpc.GetNvmeControllers(ctx, d.client); return err }},
		{"accel_crypto_keys_get", func() (err error) { h.cryptoKeys, err = spdkrpc.GetAccelCryptoKeys(ctx, d.client); return err }},
		{"keyring_get_keys", func() (err error) { h.keys, err = spdkrpc.GetKeyringKeys(ctx, d.client); return err }},
		{"vhost_get_controllers", func() (err error) { h.vhosts, err = spdkrpc.GetVhostControllers(ctx, d.client); return err }},
	}
	errs := make([]error, len(asks))
	var calls sync.WaitGroup
	for i, a := range asks {
		// Every SPDK has bdevs; without any connection that call says so.
		if i == 0 || sess.methods[a.method] {
			calls.Go(func() { errs[i] = a.ask() })
		}
	}
	calls.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, plain(asks[i].method, err, "observe the data plane")
		}
	}
	return &h, nil
}
