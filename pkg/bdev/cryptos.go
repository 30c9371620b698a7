// SPDX-License-Identifier: Apache-2.0

package bdev

import (
	"errors"
	"slices"
	"sync"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Cryptos are the crypto bdevs that are wanted in a registry. A name is remembered until Forget, be the
// bdev there or not: it comes with a base of the name that was given, goes with it, and comes again
// with the next one.
//
// Only the first that wants a base is looked at, as in SPDK: a second one on the same base is refused,
// and one that was put off does not get a base that another had wanted before.
type Cryptos struct {
	registry *Registry

	mu sync.Mutex
	// wanted is in the order of Create; guarded by mu.
	wanted []CryptoOptions
}

// NewCryptos returns the crypto bdevs of a registry, of which it wants to be the only keeper.
func NewCryptos(r *Registry) *Cryptos {
	c := &Cryptos{registry: r}
	r.Examine(func(name string) { _ = c.claim(name) }) // whatever is wrong, the base does not care
	return c
}

// Create makes a crypto bdev, or remembers it if its base does not exist, which is no error.
//
// A name that was created and not forgotten is AlreadyExists (EEXIST), a base that is claimed
// FailedPrecondition (EPERM), one that cannot be encrypted or a name that another bdev has
// InvalidArgument (EINVAL).
func (c *Cryptos) Create(o CryptoOptions) error {
	if o.Key == nil {
		return errInvalid("crypto bdev %q needs a key", o.Name)
	}
	c.mu.Lock()
	if slices.ContainsFunc(c.wanted, func(w CryptoOptions) bool { return w.Name == o.Name }) {
		c.mu.Unlock()
		return errdefs.Wrap(errdefs.AlreadyExists, syscall.EEXIST, "crypto bdev %q exists, or waits for its base", o.Name)
	}
	c.wanted = append(c.wanted, o)
	c.mu.Unlock()
	err := c.claim(o.Base)
	if err == nil || errors.Is(err, errdefs.NotFound) {
		return nil
	}
	c.Forget(o.Name)
	return err
}

// claim makes the crypto bdev that wants the base, if there is one. The base is called here as it was
// in Create.
func (c *Cryptos) claim(base string) error {
	c.mu.Lock()
	i := slices.IndexFunc(c.wanted, func(w CryptoOptions) bool { return w.Base == base })
	if i < 0 {
		c.mu.Unlock()
		return nil
	}
	o := c.wanted[i]
	c.mu.Unlock()
	return createCrypto(c.registry, o)
}

// Forget ends that a bdev of the name is wanted; it removes none. It reports whether one was.
func (c *Cryptos) Forget(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := len(c.wanted)
	c.wanted = slices.DeleteFunc(c.wanted, func(w CryptoOptions) bool { return w.Name == name })
	return len(c.wanted) < before
}
