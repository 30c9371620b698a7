// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
)

// refusedParse is the answer of methods that call parameters they cannot read a parse error.
var refusedParse = refusal{code: jsonrpc.CodeParseError, message: decodeFailed}

func accelMethods() []method {
	return []method{
		taking("accel_crypto_key_create", refusedParse, createAccelKey),
		taking("accel_crypto_key_destroy", refusedParse, destroyAccelKey),
		taking("accel_crypto_keys_get", refusedParse, listAccelKeys).maybe(),
	}
}

// The ciphers and tweak modes that there are by name; the software module has the first of each.
const (
	cipherXTS      = "AES_XTS"
	tweakSimpleLBA = "SIMPLE_LBA"
)

// accelCipher is a cipher by SPDK's name.
type accelCipher string

func (accelCipher) words() []string { return []string{cipherXTS, "AES_CBC"} }

// tweakMode says how the number of a block becomes a tweak.
type tweakMode string

func (tweakMode) words() []string {
	return []string{tweakSimpleLBA, "JOIN_NEG_LBA_WITH_LBA", "INCR_512_FULL_LBA", "INCR_512_UPPER_LBA"}
}

// accelKeys are the keys of crypto bdevs.
type accelKeys struct {
	mu sync.Mutex
	// list is in the order of creation; guarded by mu.
	list []*accelKey
}

// accelKey is a key that crypto bdevs can be made with. It is immutable.
type accelKey struct {
	name, cipher string
	data, tweak  secret.Value // as hexadecimal digits, as they were given
	tweakMode    string       // "" when nobody named one
	xts          *bdev.XTSKey
}

// newAccelKey checks a key as SPDK's software module does; whatever is wrong is InvalidArgument.
func newAccelKey(name, cipher, data, tweak, mode string) (*accelKey, error) {
	if cipher != cipherXTS || mode != "" && mode != tweakSimpleLBA {
		return nil, errdefs.New(errdefs.InvalidArgument, "key %q: cipher %s with tweak mode %q: only %s with %s is to be had",
			name, cipher, mode, cipherXTS, tweakSimpleLBA)
	}
	var halves [2][]byte
	for i, digits := range []string{data, tweak} {
		raw, err := hex.DecodeString(digits)
		if err != nil {
			return nil, errdefs.New(errdefs.InvalidArgument, "key %q: a half is not made of pairs of hexadecimal digits", name)
		}
		halves[i] = raw
	}
	xts, err := bdev.NewXTSKey(halves[0], halves[1])
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", name, err)
	}
	return &accelKey{
		name: name, cipher: cipher, data: secret.FromString(data), tweak: secret.FromString(tweak), tweakMode: mode, xts: xts,
	}, nil
}

// add takes a key in; a name that is taken is AlreadyExists.
func (k *accelKeys) add(key *accelKey) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.index(key.name) >= 0 {
		return errdefs.New(errdefs.AlreadyExists, "key %q exists", key.name)
	}
	k.list = append(k.list, key)
	return nil
}

// find returns the key of that name, or nil.
func (k *accelKeys) find(name string) *accelKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := k.index(name); i >= 0 {
		return k.list[i]
	}
	return nil
}

// drop removes the key of that name, and reports whether there was one.
func (k *accelKeys) drop(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := k.index(name)
	if i >= 0 {
		k.list = slices.Delete(k.list, i, i+1)
	}
	return i >= 0
}

// index returns where the key of that name is, or -1; the caller holds mu.
func (k *accelKeys) index(name string) int {
	return slices.IndexFunc(k.list, func(key *accelKey) bool { return key.name == name })
}

func (k *accelKeys) all() []*accelKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.list)
}

type createAccelKeyParams struct {
	Cipher    accelCipher `rpc:"cipher,required"`
	Key       string      `rpc:"key,required"`
	Key2      string      `rpc:"key2"`
	TweakMode tweakMode   `rpc:"tweak_mode"`
	Name      string      `rpc:"name,required"`
}

func createAccelKey(_ context.Context, c *call, p *createAccelKeyParams) {
	mode := p.TweakMode
	if mode == "" {
		mode = tweakSimpleLBA
	}
	key, err := newAccelKey(p.Name, string(p.Cipher), p.Key, p.Key2, string(mode))
	errno := syscall.EINVAL
	switch {
	case err != nil:
	case c.server.lacks.modules[moduleCrypto]:
		err, errno = syscall.ENOTSUP, syscall.ENOTSUP
	default:
		err, errno = c.server.accel.add(key), syscall.EEXIST
	}
	if err != nil {
		c.server.cfg.Log.Debug("key not created", "err", err)
		c.fail(jsonrpc.CodeInvalidParams, fmt.Sprintf("failed to create DEK, rc -%d", int(errno)))
		return
	}
	c.reply(true)
}

type accelKeyParams struct {
	KeyName string `rpc:"key_name,required"`
}

// destroyAccelKey forgets a key whether it is used or not, as SPDK does; see cryptos.broken.
func destroyAccelKey(_ context.Context, c *call, p *accelKeyParams) {
	key := c.server.accel.find(p.KeyName)
	if key == nil {
		c.fail(jsonrpc.CodeInvalidParams, "No key object found")
		return
	}
	c.server.accel.drop(p.KeyName)
	c.server.cryptos.keyDestroyed(key)
	c.reply(true)
}

type listAccelKeysParams struct {
	KeyName *string `rpc:"key_name"`
}

// accelKeyResult shows a key in clear: so does SPDK, and its clients may compare.
type accelKeyResult struct {
	Name      string `json:"name"`
	Cipher    string `json:"cipher"`
	Key       string `json:"key"`
	Key2      string `json:"key2"`
	TweakMode string `json:"tweak_mode,omitempty"`
}

func (k *accelKey) result() accelKeyResult {
	return accelKeyResult{
		Name: k.name, Cipher: k.cipher, Key: k.data.RevealString(), Key2: k.tweak.RevealString(), TweakMode: k.tweakMode,
	}
}

func listAccelKeys(_ context.Context, c *call, p *listAccelKeysParams) {
	keys := c.server.accel.all()
	if p.KeyName != nil {
		key := c.server.accel.find(*p.KeyName)
		if key == nil {
			c.fail(jsonrpc.CodeInvalidParams, "key was not found")
			return
		}
		keys = []*accelKey{key}
	}
	out := make([]accelKeyResult, 0, len(keys))
	for _, key := range keys {
		out = append(out, key.result())
	}
	c.reply(out)
}

// config lists the calls that would make the keys anew.
func (k *accelKeys) config() []configEntry {
	out := []configEntry{}
	for _, key := range k.all() {
		out = append(out, configEntry{Method: "accel_crypto_key_create", Params: key.result()})
	}
	return out
}
