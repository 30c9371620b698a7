// SPDX-License-Identifier: Apache-2.0

package bdev

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
)

// ModuleCrypto is the module name of crypto bdevs.
const ModuleCrypto = "crypto"

// cryptoNamespace is the name space in which the uuid of a crypto bdev is made from that of its base.
const cryptoNamespace = "078e3cf7-f4b4-4545-b2c3-d40045a64ae2"

// CryptoUUID returns the uuid of a crypto bdev on a base with that uuid, the same as SPDK makes.
func CryptoUUID(base uuid.UUID) uuid.UUID {
	return uuid.NewSHA1(uuid.MustParse(cryptoNamespace), base[:])
}

// cryptoClaim is what crypto bdevs claim their bases as, before their name.
const cryptoClaim = "crypto bdev "

// CryptoOn returns the name of the crypto bdev on a bdev, and whether there is one.
func CryptoOn(base *Info) (name string, ok bool) {
	return strings.CutPrefix(base.ClaimedBy, cryptoClaim)
}

// CryptoOptions describe a crypto bdev.
type CryptoOptions struct {
	// Name of the bdev; required.
	Name string
	// Base is the name, alias or uuid of the bdev that holds the encrypted blocks; required.
	Base string
	// KeyName is shown with the bdev.
	KeyName string
	// Key encrypts the blocks; required.
	Key *XTSKey
}

// Crypto is a device that keeps its blocks on another bdev, encrypted with AES-XTS. Block n there is
// block n here; a block is a data unit, numbered by its place. What is at rest equals what SPDK's
// crypto bdev writes with its software module.
//
// Unmap goes to the base as it is, so that unmapped blocks read as anything. Zeroes are written
// encrypted. Requests larger than cryptoInline are carried out by workers of the device.
type Crypto struct {
	options  CryptoOptions
	registry *Registry
	base     *Desc
	block    uint32 // block size in bytes
	chunk    uint64 // the blocks that are encrypted at once
	blocks   atomic.Uint64

	passing, small, large sync.Pool // of *cryptoIO: without buffer, with a small and a large one
	crew                  cryptoCrew

	mu sync.Mutex
	// registered says that the device is a bdev; guarded by mu.
	registered bool
	// removed says that the base is to go; guarded by mu.
	removed bool
}

// openCrypto opens and claims the base and makes the device, which then must be registered or closed.
func openCrypto(r *Registry, o CryptoOptions) (*Crypto, error) {
	c := &Crypto{options: o, registry: r}
	c.crew.init()
	base, err := r.Open(o.Base, true, Events{Removed: c.baseRemoved, Resized: c.baseResized})
	if err != nil {
		return nil, err
	}
	if err := base.Claim(cryptoClaim + o.Name); err != nil {
		return nil, errors.Join(err, base.Close())
	}
	g := base.Geometry()
	if g.BlockSizeBytes < xtsMinUnit {
		return nil, errors.Join(errInvalid("blocks of %d bytes cannot be encrypted", g.BlockSizeBytes), base.Close())
	}
	c.base, c.block = base, g.BlockSizeBytes
	c.chunk = uint64(max(cryptoChunk/g.BlockSizeBytes, 1))
	c.blocks.Store(g.Blocks)
	return c, nil
}

// createCrypto makes a crypto bdev on a base that exists. It returns what Open and Claim return for
// the base, and InvalidArgument (EINVAL) for whatever the registry has against the new bdev, as SPDK.
func createCrypto(r *Registry, o CryptoOptions) error {
	c, err := openCrypto(r, o)
	if err != nil {
		return err
	}
	if _, err := r.Register(c.spec()); err != nil {
		return errors.Join(errInvalid("crypto bdev %q on %q: %v", o.Name, o.Base, err), c.Close())
	}
	c.mu.Lock()
	c.registered = true
	removed := c.removed
	c.mu.Unlock()
	if removed {
		c.remove()
		return nil
	}
	c.baseResized() // it may have grown meanwhile
	return nil
}

// CryptoInfo is what a crypto bdev tells about itself, as Info.DriverSpecific.
type CryptoInfo struct {
	Crypto CryptoDetails `json:"crypto"`
}

// CryptoDetails are the names of a crypto bdev.
type CryptoDetails struct {
	BaseBdevName string `json:"base_bdev_name"`
	Name         string `json:"name"`
	KeyName      string `json:"key_name"`
}

// spec returns what to register.
func (c *Crypto) spec() Spec {
	base := c.base.Spec()
	info := CryptoInfo{CryptoDetails{BaseBdevName: base.Name, Name: c.options.Name, KeyName: c.options.KeyName}}
	return Spec{
		Name: c.options.Name, UUID: CryptoUUID(base.UUID), Module: ModuleCrypto, Product: "crypto",
		WriteCache: base.WriteCache, NUMA: base.NUMA, Device: c,
		IOTypes:        base.IOTypes&(IORead|IOWrite|IOUnmap|IOFlush|IOReset) | IOWriteZeroes,
		DriverSpecific: func() any { return info },
	}
}

// baseRemoved begins the removal of the crypto bdev, whose end lets go of the base.
func (c *Crypto) baseRemoved() {
	c.mu.Lock()
	c.removed = true
	registered := c.registered
	c.mu.Unlock()
	if registered {
		c.remove()
	}
}

// remove begins the removal of the bdev that c is.
func (c *Crypto) remove() {
	c.registry.begin(c.options.Name, func(e *entry) bool { return e.spec.Device == Device(c) })
}

// baseResized makes the crypto bdev as large as its base.
func (c *Crypto) baseResized() {
	c.mu.Lock()
	registered := c.registered
	c.mu.Unlock()
	if registered {
		// It fails only when the bdev is on its way out.
		_ = c.registry.Resize(c.options.Name, c.base.Geometry().Blocks)
	}
}

// Geometry implements [Device].
func (c *Crypto) Geometry() Geometry {
	return Geometry{BlockSizeBytes: c.block, Blocks: c.blocks.Load()}
}

// SetBlocks implements [Resizer].
func (c *Crypto) SetBlocks(blocks uint64) { c.blocks.Store(blocks) }

// Close ends the workers and lets go of the base.
func (c *Crypto) Close() error {
	c.crew.close()
	if err := c.base.Close(); err != nil {
		return fmt.Errorf("close the base of crypto bdev %q: %w", c.options.Name, err)
	}
	return nil
}
