// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// A bdev is used for a moment by being the namespace of a subsystem that no host can reach: it has
// no listener and lets nobody in. Observe does not show such subsystems, and takes away those that a
// bridge which died has left.

const (
	// consumerPrefix begins the NQN of every such subsystem, and of no other.
	consumerPrefix = "nqn.2024-01.io.opi-bridge:limits-"
	// consumerEnd bounds the removal, which happens even when the caller has gone.
	consumerEnd = 10 * time.Second
	// busyTries is how often limits are set on a bdev that somebody uses all the time.
	busyTries = 20
)

// consumerNQN returns the NQN of the subsystem that uses a bdev for a moment. It serves as the name of
// the bdev's lock too.
func consumerNQN(bdev string) string {
	sum := sha256.Sum256([]byte(bdev))
	return consumerPrefix + hex.EncodeToString(sum[:16])
}

func isConsumer(nqn string) bool { return strings.HasPrefix(nqn, consumerPrefix) }

// whileUsed calls f, which has failed with notNow, again while somebody uses the bdev. It reports
// false if nothing had to be done for that. The error is not f's.
func (d *Driver) whileUsed(ctx context.Context, bdev string, f func() error) (used bool, err error) {
	top, err := d.top(ctx, bdev)
	if err != nil {
		return false, err
	}
	if top == "" {
		for range busyTries {
			if !notNow(f()) {
				break
			}
			if err := pause(ctx, lookPause); err != nil {
				return false, err
			}
		}
		return false, nil
	}
	if top != bdev {
		release, err := d.hold(ctx, consumerNQN(top))
		if err != nil {
			return false, err
		}
		defer release()
	}
	d.used.note(consumerNQN(top), bdev, top)
	if err := d.startUsing(ctx, bdev, top); err != nil {
		return true, err
	}
	for range busyTries {
		if !notNow(f()) {
			break
		}
		if pause(ctx, lookPause) != nil {
			break
		}
	}
	if err := d.stopUsing(ctx, consumerNQN(top)); err != nil {
		return true, unsure(err, "limits of bdev %s: bdev %s was used for a moment, and cannot be let go", bdev, top)
	}
	return true, nil
}

// top returns the bdev that must be used for a bdev to be used: itself, or the one that stands on it.
// It returns "" if a namespace uses it already.
func (d *Driver) top(ctx context.Context, bdev string) (string, error) {
	bdevs, err := d.allBdevs(ctx, "look who uses bdev "+bdev)
	if err != nil {
		return "", err
	}
	byName := make(map[string]*spdkrpc.Bdev, len(bdevs))
	for i := range bdevs {
		byName[bdevs[i].Name] = &bdevs[i]
	}
	top := bdev
	for range bdevs {
		b := byName[top]
		switch {
		case b == nil:
			return "", errdefs.New(errdefs.NotFound, "bdev %s does not exist", top)
		case !b.Claimed:
			return top, nil
		}
		above := standsOn(bdevs, top)
		if above == "" {
			break
		}
		top = above
	}
	by, err := d.claimant(ctx, top)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(by, "namespace ") {
		return "", nil
	}
	return "", errdefs.New(errdefs.FailedPrecondition,
		"limits of bdev %s cannot be changed: bdev %s is claimed by %s, and not in use: use it, or free it", bdev, top, by)
}

// startUsing makes top a namespace.
func (d *Driver) startUsing(ctx context.Context, bdev, top string) error {
	nqn := consumerNQN(top)
	create := func() error { return spdkrpc.NvmfCreateSubsystem{NQN: nqn, MaxNamespaces: 1}.Do(ctx, d.client) }
	const method = "nvmf_create_subsystem"
	err := create()
	if r := spdkrpc.Refusal(err); r != nil && r.Code == spdkrpc.CodeInternal {
		// One that was left by a bridge that died, or there is no room.
		if goneErr := d.stopUsing(ctx, nqn); goneErr != nil {
			return goneErr
		}
		err = create()
	}
	switch {
	case err == nil:
	case settled(err):
		return plain(method, err, "use bdev %s for a moment, to change limits of bdev %s", top, bdev)
	default:
		return refuse(errdefs.ResourceExhausted, method, err,
			"limits of bdev %s: nobody uses bdev %s, so it needs a subsystem for a moment, and there is no room for one: delete some", bdev, top)
	}
	_, err = spdkrpc.NvmfAddNs{NQN: nqn, Namespace: spdkrpc.NvmfNamespace{BdevName: top}}.Do(ctx, d.client)
	if err == nil {
		return nil
	}
	if goneErr := d.stopUsing(ctx, nqn); goneErr != nil {
		return goneErr
	}
	if settled(err) {
		return plain("nvmf_subsystem_add_ns", err, "use bdev %s for a moment, to change limits of bdev %s", top, bdev)
	}
	return refuse(errdefs.FailedPrecondition, "nvmf_subsystem_add_ns", err,
		"limits of bdev %s: bdev %s cannot be used for a moment, which a change needs: somebody else has just taken it", bdev, top)
}

// stopUsing takes the subsystem away, whether or not the caller is still there.
func (d *Driver) stopUsing(ctx context.Context, nqn string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), consumerEnd)
	defer cancel()
	if sess, _ := d.now(); sess.methods != nil && !sess.methods["nvmf_create_subsystem"] {
		d.used.forget(nqn) // there can be none
		return nil
	}
	err := d.deleteSubsystem(ctx, &driver.Subsystem{NQN: nqn})
	if err == nil {
		d.used.forget(nqn)
	}
	return err
}

// used remembers which bdevs are used for a moment, until they have surely been let go.
type used struct {
	mu sync.Mutex
	by map[string][]string // bdevs by the NQN of what uses them; guarded by mu
}

func newUsed() *used { return &used{by: make(map[string][]string)} }

func (u *used) note(nqn string, bdevs ...string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.by[nqn] = bdevs
}

func (u *used) forget(nqn string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.by, nqn)
}

// of returns what uses a bdev.
func (u *used) of(bdev string) (nqns []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for nqn, bdevs := range u.by {
		if slices.Contains(bdevs, bdev) {
			nqns = append(nqns, nqn)
		}
	}
	return nqns
}

// letGo ends every use of a bdev that should have ended and has not. The caller holds the bdev's lock.
func (d *Driver) letGo(ctx context.Context, bdev string) error {
	for _, nqn := range d.used.of(bdev) {
		if nqn != consumerNQN(bdev) && !d.uses.tryLock(nqn) {
			continue
		}
		err := d.stopUsing(ctx, nqn)
		if nqn != consumerNQN(bdev) {
			d.uses.unlock(nqn)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepConsumers takes away the subsystems of that sort which nobody of this process needs: all that
// are not held. They were left by a bridge that died.
func (d *Driver) sweepConsumers(ctx context.Context, left []string) {
	for _, nqn := range left {
		if !d.uses.tryLock(nqn) {
			continue
		}
		err := d.stopUsing(ctx, nqn)
		d.uses.unlock(nqn)
		if err != nil {
			d.log.Warn("a subsystem that was needed for a moment cannot be taken away", "resource", nqn, "err", err)
			continue
		}
		d.log.Info("a subsystem that was needed for a moment has been taken away", "resource", nqn)
	}
}
