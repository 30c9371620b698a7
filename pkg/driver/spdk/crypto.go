// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

const (
	// examineTime bounds how long a bdev that stands on another is waited for once that is there.
	examineTime = time.Second
	// lookPause is the time between two looks at something that is about to happen.
	lookPause = 10 * time.Millisecond
)

// cryptoKeyObject returns a volume key. What is not hexadecimal gives an empty half, which differs
// from every key that is wanted.
func cryptoKeyObject(k *spdkrpc.AccelCryptoKey) *driver.CryptoKey {
	return &driver.CryptoKey{Name: k.Name, Cipher: driver.Cipher(k.Cipher), Data: material(k.Key), Tweak: material(k.Key2)}
}

func material(digits spdkrpc.KeyMaterial) secret.Value {
	b, err := hex.DecodeString(string(digits))
	if err != nil {
		return secret.Value{}
	}
	return secret.New(b)
}

func digits(v secret.Value) spdkrpc.KeyMaterial {
	return spdkrpc.KeyMaterial(hex.EncodeToString(v.Reveal()))
}

// findCryptoKey returns the volume key of that name, or nil if there is none.
func (d *Driver) findCryptoKey(ctx context.Context, name string) (*driver.CryptoKey, error) {
	const method = "accel_crypto_keys_get"
	// By listing: the refusal for a name that is not there is the same as for others.
	all, err := spdkrpc.GetAccelCryptoKeys(ctx, d.client)
	if err != nil {
		return nil, plain(method, err, "look for volume key %s", name)
	}
	for i := range all {
		if all[i].Name == name {
			return cryptoKeyObject(&all[i]), nil
		}
	}
	return nil, nil //nolint:nilnil // to find nothing is no failure
}

// noCryptoEngine ends the refusal of an SPDK whose accel modules cannot encrypt: ENOTSUP, in the text
// only. If the text should change, the refusal is put down to the key.
const noCryptoEngine = "rc -95"

func (d *Driver) createCryptoKey(ctx context.Context, step *driver.Step, k *driver.CryptoKey) error {
	const method = "accel_crypto_key_create"
	err := spdkrpc.AccelCryptoKeyCreate{
		Name: k.Name, Cipher: string(k.Cipher), Key: digits(k.Data), Key2: digits(k.Tweak),
	}.Do(ctx, d.client)
	if err == nil {
		return nil
	}
	if settled(err) {
		return plain(method, err, "create volume key %s", k.Name)
	}
	there, lookErr := d.findCryptoKey(ctx, k.Name)
	switch {
	case lookErr != nil:
		return lookErr
	case there != nil:
		return exists(step, there, method, err)
	case strings.HasSuffix(spdkrpc.Refusal(err).Message, noCryptoEngine):
		return refuse(errdefs.Unimplemented, method, err,
			"volume key %s: this data plane has no crypto engine for %s: it was built without ISA-L crypto", k.Name, k.Cipher)
	}
	return refuse(errdefs.InvalidArgument, method, err,
		"volume key %s: %s takes a data key and a tweak key of 16 or 32 bytes each, not equal, and not %d and %d bytes",
		k.Name, k.Cipher, k.Data.Len(), k.Tweak.Len())
}

// deleteCryptoKey destroys a key, but never one that a bdev uses: SPDK would let it happen, and die.
func (d *Driver) deleteCryptoKey(ctx context.Context, k *driver.CryptoKey) error {
	const method = "accel_crypto_key_destroy"
	unlock, err := d.hold(ctx, cryptoKeyLock(k.Name))
	if err != nil {
		return err
	}
	defer unlock()
	bdevs, err := d.allBdevs(ctx, "look who uses volume key "+k.Name)
	if err != nil {
		return err
	}
	for i := range bdevs {
		if bdevs[i].ProductName == spdkrpc.ProductCrypto && bdevs[i].Crypto().KeyName == k.Name {
			return errdefs.New(errdefs.FailedPrecondition, "volume key %s: bdev %s is encrypted with it: delete that first", k.Name, bdevs[i].Name)
		}
	}
	err = spdkrpc.AccelCryptoKeyDestroy(ctx, d.client, k.Name)
	if err == nil {
		return nil
	}
	if settled(err) {
		return plain(method, err, "delete volume key %s", k.Name)
	}
	there, lookErr := d.findCryptoKey(ctx, k.Name)
	switch {
	case lookErr != nil:
		return lookErr
	case there == nil:
		return nil
	}
	return refuse(errdefs.Internal, method, err, "volume key %s is there and cannot be deleted", k.Name)
}

// cryptoKeyLock keeps a key from being destroyed while a bdev is made with it.
func cryptoKeyLock(key string) string { return "crypto key " + key }

// createCryptoBdev makes a crypto bdev on one that exists. SPDK would remember one whose base does not
// exist, and there is no way to make it forget.
func (d *Driver) createCryptoBdev(ctx context.Context, step *driver.Step, b *driver.Bdev) error {
	const method = "bdev_crypto_create"
	unlock, err := d.hold(ctx, consumerNQN(b.Base), cryptoKeyLock(b.CryptoKey))
	if err != nil {
		return err
	}
	defer unlock()
	var (
		base, there *driver.Bdev
		errs        [2]error
		looks       sync.WaitGroup
	)
	looks.Go(func() { base, errs[0] = d.findBdev(ctx, b.Base) })
	looks.Go(func() { there, errs[1] = d.findBdev(ctx, b.Name) })
	looks.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if base == nil && there == nil {
		return errdefs.New(errdefs.NotFound, "crypto bdev %s: bdev %s, which it is to encrypt, does not exist", b.Name, b.Base)
	}
	err = spdkrpc.BdevCryptoCreate{Name: b.Name, BaseBdevName: b.Base, KeyName: b.CryptoKey}.Do(ctx, d.client)
	if err == nil {
		if there, err = d.awaitBdev(ctx, b.Name); err == nil && there == nil {
			err = errdefs.New(errdefs.Aborted, "bdev %s has gone meanwhile; it appears by itself when that is back", b.Base)
		}
		if err != nil {
			return unsure(err, "crypto bdev %s was made, and has not been seen", b.Name)
		}
		return nil
	}
	if settled(err) {
		return plain(method, err, "create crypto bdev %s on bdev %s", b.Name, b.Base)
	}
	return d.explainCryptoBdev(ctx, step, b, there, err)
}

// explainCryptoBdev finds out why SPDK has refused a crypto bdev, of whose name there was seen before.
func (d *Driver) explainCryptoBdev(ctx context.Context, step *driver.Step, b, there *driver.Bdev, err error) error {
	const method = "bdev_crypto_create"
	if there != nil {
		return d.explainBdev(ctx, step, b, method, err)
	}
	switch spdkrpc.Refusal(err).Code {
	case spdkrpc.CodeExists:
		// One that SPDK has remembered comes back with its base, by itself and at its own time. It is
		// ours, whether or not anybody expected it.
		there, lookErr := d.awaitBdev(ctx, b.Name)
		if lookErr != nil {
			return lookErr
		}
		if there == nil {
			return refuse(errdefs.FailedPrecondition, method, err,
				"crypto bdev %s: the data plane remembers one of this name on a bdev that does not exist: make that, delete both, or use another name", b.Name)
		}
		adopt := *step
		adopt.Adopt = true
		return exists(&adopt, there, method, err)
	case spdkrpc.CodePerm:
		by, lookErr := d.claimant(ctx, b.Base)
		if lookErr != nil {
			return lookErr
		}
		return refuse(errdefs.FailedPrecondition, method, err, "crypto bdev %s: bdev %s is claimed by %s: free it there first", b.Name, b.Base, by)
	case spdkrpc.CodeInvalidParams:
		key, lookErr := d.findCryptoKey(ctx, b.CryptoKey)
		if lookErr != nil {
			return lookErr
		}
		if key == nil {
			return refuse(errdefs.NotFound, method, err, "crypto bdev %s: volume key %s does not exist", b.Name, b.CryptoKey)
		}
	}
	return plain(method, err, "create crypto bdev %s on bdev %s", b.Name, b.Base)
}

// awaitBdev waits a little for a bdev to appear, and returns nil if it does not.
func (d *Driver) awaitBdev(ctx context.Context, name string) (*driver.Bdev, error) {
	for end := time.Now().Add(examineTime); ; {
		there, err := d.findBdev(ctx, name)
		if err != nil || there != nil || time.Now().After(end) {
			return there, err
		}
		if err := pause(ctx, lookPause); err != nil {
			return nil, err
		}
	}
}

// deleteCryptoBdev deletes a crypto bdev and waits until it is gone, because its key may follow.
func (d *Driver) deleteCryptoBdev(ctx context.Context, b *driver.Bdev) error {
	const method = "bdev_crypto_delete"
	err := spdkrpc.BdevCryptoDelete(ctx, d.client, b.Name)
	switch err = d.missing(ctx, method, b.Name, err); {
	case errdefs.ClassOf(err) == errdefs.NotFound:
		return nil
	case err != nil:
		return err
	}
	for end := time.Now().Add(examineTime); ; {
		there, err := d.findBdev(ctx, b.Name)
		switch {
		case err != nil:
			return err
		case there == nil:
			return nil
		case time.Now().After(end):
			return errdefs.New(errdefs.Aborted, "crypto bdev %s is still there: somebody has made it again, or it is slow to go", b.Name)
		}
		if err := pause(ctx, lookPause); err != nil {
			return err
		}
	}
}
