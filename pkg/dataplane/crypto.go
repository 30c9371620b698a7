// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"fmt"
	"sync"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
)

func cryptoMethods() []method {
	return []method{
		taking("bdev_crypto_create", refusal{
			code: jsonrpc.CodeParseError, message: "Failed to decode crypto disk create parameters.",
		}, createCrypto),
		taking("bdev_crypto_delete", refusedParams, deleteCrypto),
	}
}

// cryptos are the crypto bdevs with their keys.
type cryptos struct {
	*bdev.Cryptos

	mu sync.Mutex
	// keys are by the name of the crypto bdev, be it there or wait for its base; guarded by mu.
	keys map[string]cryptoKey
}

type cryptoKey struct {
	key *accelKey
	// owned: it was made by bdev_crypto_create, and goes with the bdev.
	owned bool
	// destroyed: it has been destroyed under the bdev.
	destroyed bool
}

func newCryptos(r *bdev.Registry) *cryptos {
	return &cryptos{Cryptos: bdev.NewCryptos(r), keys: make(map[string]cryptoKey)}
}

// keyDestroyed notes that a key is no more.
func (c *cryptos) keyDestroyed(key *accelKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, k := range c.keys {
		if k.key == key {
			k.destroyed = true
			c.keys[name] = k
		}
	}
}

// broken names one of the bdevs whose key was destroyed while they used it, "" if there is none.
//
// With such a bdev SPDK reads memory that it has freed: its next bdev_get_bdevs answers something
// that is no JSON, or kills it. Nothing worse than an answer may come of it here: the call that would
// do that is refused, which no client can take for success, and deleting the bdev heals it. The bdev's
// blocks stay what they are meanwhile. (With Config.CrashLikeSPDK the process dies.)
func (c *cryptos) broken(infos []*bdev.Info) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, info := range infos {
		if info.Module == bdev.ModuleCrypto && c.keys[info.Name].destroyed {
			return info.Name
		}
	}
	return ""
}

// forget ends that a crypto bdev is wanted, and returns the key that goes with it, or nil.
func (c *cryptos) forget(name string) *accelKey {
	c.Forget(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[name]
	delete(c.keys, name)
	if !k.owned || k.destroyed {
		return nil
	}
	return k.key
}

// refuseBroken answers a call that would show a bdev whose key was destroyed, and reports whether it
// did.
func (c *call) refuseBroken(infos []*bdev.Info) bool {
	name := c.server.cryptos.broken(infos)
	if name == "" {
		return false
	}
	c.server.cfg.Log.Error("the key of a crypto bdev was destroyed under it: SPDK would be gone now", "bdev", name)
	if c.server.cfg.CrashLikeSPDK {
		if err := c.server.cfg.Kill(syscall.SIGKILL); err == nil {
			return true
		}
	}
	c.fail(jsonrpc.CodeInternalError, fmt.Sprintf(
		"the key of crypto bdev %s was destroyed while it was used: SPDK answers this with broken JSON or dies; delete the bdev", name))
	return true
}

type createCryptoParams struct {
	BaseBdevName string  `rpc:"base_bdev_name,required"`
	Name         string  `rpc:"name,required"`
	CryptoPMD    *string `rpc:"crypto_pmd"`
	Key          string  `rpc:"key"`
	Cipher       *string `rpc:"cipher"`
	Key2         string  `rpc:"key2"`
	KeyName      *string `rpc:"key_name"`
}

// createCrypto makes a crypto bdev with a key that exists. The older form, with the key in the call,
// makes a key of a name of its own first, unless there is one of that name.
func createCrypto(_ context.Context, c *call, p *createCryptoParams) {
	var key *accelKey
	owned := false
	if p.KeyName != nil {
		if key = c.server.accel.find(*p.KeyName); key == nil {
			c.fail(jsonrpc.CodeInvalidParams, "Key was not found")
			return
		}
	} else if key, owned = c.server.inlineKey(p); key == nil {
		c.fail(jsonrpc.CodeInternalError, "No key was found")
		return
	}
	known := c.server.cryptos
	// Before the bdev exists, because it may be listed as soon as it does.
	known.mu.Lock()
	before, taken := known.keys[p.Name]
	known.keys[p.Name] = cryptoKey{key: key, owned: owned}
	known.mu.Unlock()
	err := known.Create(bdev.CryptoOptions{Name: p.Name, Base: p.BaseBdevName, KeyName: key.name, Key: key.xts})
	if err != nil {
		known.mu.Lock()
		if delete(known.keys, p.Name); taken {
			known.keys[p.Name] = before
		}
		known.mu.Unlock()
		if owned {
			c.server.accel.drop(key.name)
		}
		c.failErr(err)
		return
	}
	c.reply(p.Name)
}

// inlineKey returns the key that a call brings, and whether it has been made for it; nil when it
// brings none that can be used.
func (s *Server) inlineKey(p *createCryptoParams) (key *accelKey, made bool) {
	cipher := valueOr(p.Cipher, cipherXTS)
	name := p.Name + "_" + cipher
	if key := s.accel.find(name); key != nil {
		return key, false
	}
	key, err := newAccelKey(name, cipher, p.Key, p.Key2, "")
	if err == nil {
		err = s.accel.add(key)
	}
	if err != nil {
		s.cfg.Log.Debug("key not created", "err", err)
		return nil, false
	}
	return key, true
}

// deleteCrypto removes a crypto bdev that exists; one that waits for its base cannot be withdrawn.
// Only the name is forgotten, not a uuid by which the bdev may be deleted too: it comes back then.
func deleteCrypto(ctx context.Context, c *call, p *nameParams) {
	removeThen(ctx, c, p.Name, bdev.ModuleCrypto, func() {
		if key := c.server.cryptos.forget(p.Name); key != nil {
			c.server.accel.drop(key.name)
		}
	})
}

// cryptoConfig lists the calls that would make the crypto bdevs anew.
func cryptoConfig(infos []*bdev.Info) []configEntry {
	var out []configEntry
	for _, info := range infos {
		if told, ok := info.DriverSpecific.(bdev.CryptoInfo); ok {
			out = append(out, configEntry{Method: "bdev_crypto_create", Params: told.Crypto})
		}
	}
	return out
}
