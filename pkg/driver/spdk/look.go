// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"strings"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// Look implements [driver.Driver]: one call for each thing that can be asked for by name, and one for
// each family that cannot; all are sent together.
func (d *Driver) Look(ctx context.Context, keys []driver.Key) (*driver.Observation, error) {
	sess, epoch := d.now()
	if sess.methods == nil {
		return nil, errdefs.Wrap(errdefs.Unavailable, d.Status().Err, "look at the data plane")
	}
	g := glance{driver: d, sess: sess, objects: make(map[driver.Key]driver.Object, 2*len(keys))}
	var calls sync.WaitGroup
	for _, ask := range g.asks(ctx, keys) {
		calls.Go(func() { g.add(ask()) })
	}
	calls.Wait()
	if g.err != nil {
		return nil, g.err
	}
	d.identify(ctx, sess, epoch, g.remote(), g.controllers, false)
	if _, after := d.now(); after != epoch {
		return nil, errdefs.New(errdefs.Unavailable, "the data plane was connected anew while it was looked at: try again")
	}
	return &driver.Observation{Epoch: epoch, Objects: g.objects}, nil
}

// glance is a look on its way.
type glance struct {
	driver *Driver
	sess   session

	mu          sync.Mutex
	objects     map[driver.Key]driver.Object // guarded by mu
	controllers []spdkrpc.NvmeController     // guarded by mu
	err         error                        // the first; guarded by mu
}

// remote returns the bdevs that came with remote controllers. All calls have ended.
func (g *glance) remote() []*driver.Bdev {
	var bdevs []*driver.Bdev
	for _, o := range g.objects {
		if b, ok := o.(*driver.Bdev); ok && b.Nvme != nil {
			bdevs = append(bdevs, b)
		}
	}
	return bdevs
}

func (g *glance) add(objects []driver.Object, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
	}
	for _, o := range objects {
		g.objects[o.Key()] = o
	}
}

// asks returns what is to be asked, each once however many keys it answers. What an SPDK lacks the
// methods for it cannot hold.
func (g *glance) asks(ctx context.Context, keys []driver.Key) map[string]func() ([]driver.Object, error) {
	d, asks := g.driver, make(map[string]func() ([]driver.Object, error), len(keys))
	put := func(method, what string, ask func() ([]driver.Object, error)) {
		if g.sess.methods[method] {
			asks[what] = ask
		}
	}
	bdev := func(name string) {
		put("bdev_get_bdevs", "bdev "+name, func() ([]driver.Object, error) { return d.lookAtBdev(ctx, name) })
	}
	for _, key := range keys {
		owner, _, _ := strings.Cut(key.ID, "|")
		switch key.Type {
		case driver.TypeBdev, driver.TypeLimits:
			bdev(key.ID)
		case driver.TypeSubsystem, driver.TypeHost, driver.TypeListener, driver.TypeNamespace:
			put("nvmf_get_subsystems", "subsystem "+owner, func() ([]driver.Object, error) { return d.findSubsystem(ctx, owner) })
		case driver.TypePath:
			put("bdev_nvme_get_controllers", "controller "+owner, func() ([]driver.Object, error) { return g.lookAtController(ctx, owner) })
			names, all := g.sess.brought.by(owner)
			for _, name := range names {
				bdev(name)
			}
			if !all {
				put("bdev_get_bdevs", "bdevs", func() ([]driver.Object, error) { return d.lookAtAllBdevs(ctx) })
			}
		case driver.TypeCryptoKey:
			put("accel_crypto_keys_get", "crypto keys", func() ([]driver.Object, error) { return d.lookAtCryptoKeys(ctx) })
		case driver.TypeTLSKey:
			asks["TLS keys"] = func() ([]driver.Object, error) { return d.lookAtTLSKeys(ctx, g.sess) }
		case driver.TypeVirtioBlk, driver.TypeVirtioScsi, driver.TypeVirtioScsiTarget, driver.TypeVirtioScsiSocket:
			put("vhost_get_controllers", "vhost controllers", func() ([]driver.Object, error) { return d.lookAtVhosts(ctx, g.sess) })
		}
	}
	return asks
}

// lookAtBdev returns the bdev of that name, and its limits.
func (d *Driver) lookAtBdev(ctx context.Context, name string) ([]driver.Object, error) {
	found, err := spdkrpc.GetBdev(ctx, d.client, name)
	if r := spdkrpc.Refusal(err); r != nil && r.Code == spdkrpc.CodeNoDevice {
		return nil, nil
	}
	if err != nil {
		return nil, plain("bdev_get_bdevs", err, "look at bdev %s", name)
	}
	if len(found) == 0 || found[0].Name != name { // an alias is another's
		return nil, nil
	}
	b := bdevObject(&found[0])
	if b.Claimed {
		momentary, err := d.findSubsystem(ctx, consumerNQN(name))
		if err != nil {
			return nil, err
		}
		b.Claimed = len(momentary) == 0
	}
	objects := []driver.Object{b}
	if l := limitsObject(&found[0]); l != nil {
		objects = append(objects, l)
	}
	return objects, nil
}

// lookAtAllBdevs returns all bdevs.
func (d *Driver) lookAtAllBdevs(ctx context.Context) ([]driver.Object, error) {
	bdevs, err := d.allBdevs(ctx, "look at all bdevs")
	objects := make([]driver.Object, len(bdevs))
	for i := range bdevs {
		objects[i] = bdevObject(&bdevs[i])
	}
	return objects, err
}

// lookAtController returns the paths of a remote controller.
func (g *glance) lookAtController(ctx context.Context, name string) ([]driver.Object, error) {
	found, err := spdkrpc.GetNvmeController(ctx, g.driver.client, name)
	if r := spdkrpc.Refusal(err); r != nil && (r.Code == spdkrpc.CodeInvalid || r.Code == spdkrpc.CodeNoDevice) {
		g.sess.brought.forget(name)
		return nil, nil
	}
	if err != nil {
		return nil, plain("bdev_nvme_get_controllers", err, "look at controller %s", name)
	}
	g.mu.Lock()
	g.controllers = append(g.controllers, found...)
	g.mu.Unlock()
	var objects []driver.Object
	for i := range found {
		for _, p := range pathObjects(&found[i]) {
			objects = append(objects, p)
		}
	}
	return objects, nil
}

// Volume keys, TLS keys and vhost controllers cannot be asked for by name: SPDK's refusal of a name that
// is not there is the same as its others. So all of the family are listed.

func (d *Driver) lookAtCryptoKeys(ctx context.Context) ([]driver.Object, error) {
	keys, err := spdkrpc.GetAccelCryptoKeys(ctx, d.client)
	if err != nil {
		return nil, plain("accel_crypto_keys_get", err, "look at the volume keys")
	}
	objects := make([]driver.Object, len(keys))
	for i := range keys {
		objects[i] = cryptoKeyObject(&keys[i])
	}
	return objects, nil
}

func (d *Driver) lookAtTLSKeys(ctx context.Context, sess session) ([]driver.Object, error) {
	if !sess.methods["keyring_get_keys"] {
		return d.tlsKeyObjects(sess, nil), nil
	}
	keys, err := spdkrpc.GetKeyringKeys(ctx, d.client)
	if err != nil {
		return nil, plain("keyring_get_keys", err, "look at the TLS keys")
	}
	return d.tlsKeyObjects(sess, keys), nil
}

func (d *Driver) lookAtVhosts(ctx context.Context, sess session) ([]driver.Object, error) {
	vhosts, err := spdkrpc.GetVhostControllers(ctx, d.client)
	if err != nil {
		return nil, plain("vhost_get_controllers", err, "look at the vhost controllers")
	}
	var objects []driver.Object
	for i := range vhosts {
		objects = append(objects, sess.vhostObjects(&vhosts[i])...)
	}
	return objects, nil
}
