// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"fmt"
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// hold takes locks in the order given, and returns how to give them back.
func (d *Driver) hold(ctx context.Context, keys ...string) (release func(), err error) {
	taken := make([]string, 0, len(keys))
	release = func() {
		for _, key := range slices.Backward(taken) {
			d.uses.unlock(key)
		}
	}
	for _, key := range keys {
		if err := d.uses.lock(ctx, key); err != nil {
			release()
			return nil, err
		}
		taken = append(taken, key)
	}
	return release, nil
}

// alone runs what opens a bdev for writing while nobody else of ours does: a namespace that lives for
// a moment only (see consumer.go) would have it refused.
func (d *Driver) alone(ctx context.Context, bdev string, f func() error) error {
	release, err := d.hold(ctx, consumerNQN(bdev))
	if err != nil {
		return err
	}
	defer release()
	if err := d.letGo(ctx, bdev); err != nil {
		return err
	}
	return f()
}

// claimant says in words who has a bdev as its exclusive writer, as far as it can be seen.
func (d *Driver) claimant(ctx context.Context, bdev string) (string, error) {
	bdevs, err := d.allBdevs(ctx, "look who uses bdev "+bdev)
	if err != nil {
		return "", err
	}
	if above := standsOn(bdevs, bdev); above != "" {
		return "crypto bdev " + above, nil
	}
	subsystems, err := spdkrpc.GetNvmfSubsystems(ctx, d.client)
	if err != nil {
		return "", plain("nvmf_get_subsystems", err, "look who uses bdev %s", bdev)
	}
	for i := range subsystems {
		for _, o := range d.subsystemObjects(&subsystems[i]) {
			if n, ok := o.(*driver.Namespace); ok && n.Bdev == bdev {
				return fmt.Sprintf("namespace %d of subsystem %s", n.NSID, n.Subsystem), nil
			}
		}
	}
	return "another bdev or program on top of it", nil
}

// standsOn returns the name of the crypto bdev on a bdev, "" if there is none.
func standsOn(bdevs []spdkrpc.Bdev, base string) string {
	for i := range bdevs {
		if bdevs[i].ProductName == spdkrpc.ProductCrypto && bdevs[i].Crypto().BaseBdevName == base {
			return bdevs[i].Name
		}
	}
	return ""
}

// tryLock takes the lock of key if nobody holds it, and reports whether it did.
func (k *keyedLock) tryLock(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.locks[key] != nil {
		return false
	}
	l := &oneLock{held: make(chan struct{}, 1), users: 1}
	l.held <- struct{}{}
	k.locks[key] = l
	return true
}
