// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// SPDK takes pre-shared keys from files. Since v24.05 they are put into its keyring under a name, and
// hosts and paths give that name; before it they give the path of the file. Everything that differs
// is in this file.

const (
	addKey = "keyring_file_add_key"
	// releaseTime bounds how long the last users of a key are waited for: hosts and paths that are being
	// deleted at the same time.
	releaseTime = 5 * time.Second
)

// pathKeys remembers which keys were written for an SPDK without a keyring, which cannot be asked.
type pathKeys struct {
	mu    sync.Mutex
	names map[string]bool // guarded by mu
}

func (p *pathKeys) set(name string, there bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.names == nil {
		p.names = make(map[string]bool)
	}
	if there {
		p.names[name] = true
	} else {
		delete(p.names, name)
	}
}

// keyringName returns the keyring's name of a key: there is one keyring, and a colon would name
// another.
func keyringName(name string) string {
	return strings.NewReplacer("%", "%25", ":", "%3A").Replace(name)
}

// nameInKeyring is the reverse.
func nameInKeyring(name string) string {
	return strings.NewReplacer("%3A", ":", "%25", "%").Replace(name)
}

// psk returns what SPDK is told where a key is to be used, "" for no key.
func (d *Driver) psk(name string) string {
	if name == "" {
		return ""
	}
	if sess, _ := d.now(); !sess.features.Keyring {
		return d.keys.path(name)
	}
	return keyringName(name)
}

// tlsKeyObjects returns the keys that can be used: those of the keyring, but for those of ours whose
// file has gone, or the files themselves where there is no keyring.
func (d *Driver) tlsKeyObjects(sess session, keys []spdkrpc.KeyringKey) []driver.Object {
	var all []driver.Object
	for i := range keys {
		if k := &keys[i]; !k.Removed && (!d.keys.ours(k.Path) || d.keys.there(k.Path)) {
			all = append(all, &driver.TLSKey{Name: nameInKeyring(k.Name)})
		}
	}
	if !sess.features.Keyring {
		d.pathKeys.mu.Lock()
		defer d.pathKeys.mu.Unlock()
		for name := range d.pathKeys.names {
			if d.keys.there(d.keys.path(name)) {
				all = append(all, &driver.TLSKey{Name: name})
			}
		}
	}
	return all
}

// findKey returns the key of that name in the keyring, or nil if there is none.
func (d *Driver) findKey(ctx context.Context, name string) (*spdkrpc.KeyringKey, error) {
	keys, err := spdkrpc.GetKeyringKeys(ctx, d.client)
	if err != nil {
		return nil, plain("keyring_get_keys", err, "look for TLS key %s", name)
	}
	for i := range keys {
		// A leading colon names the one keyring there is.
		if !keys[i].Removed && strings.TrimPrefix(keys[i].Name, ":") == keyringName(name) {
			return &keys[i], nil
		}
	}
	return nil, nil //nolint:nilnil // to find nothing is no failure
}

func (d *Driver) createTLSKey(ctx context.Context, step *driver.Step, k *driver.TLSKey) error {
	sess, _ := d.now()
	switch {
	case sess.methods != nil && sess.features.Keyring && !sess.methods[addKey]:
		return errdefs.New(errdefs.Unimplemented, "TLS key %s: this data plane has no method %s", k.Name, addKey)
	case d.keys.dir == "":
		return errdefs.New(errdefs.FailedPrecondition,
			"TLS key %s: the data plane takes keys from files, and no directory for them was given (--key-dir)", k.Name)
	}
	unlock, err := d.hold(ctx, "tls key "+k.Name)
	if err != nil {
		return err
	}
	defer unlock()
	release, err := d.keys.share(ctx)
	if err != nil {
		return d.fileTrouble(k.Name, err)
	}
	defer release()
	if !sess.features.Keyring && sess.methods != nil {
		if err := d.keys.write(k.Name, k.PSK); err != nil {
			return d.fileTrouble(k.Name, err)
		}
		d.pathKeys.set(k.Name, true)
		return nil
	}
	there, err := d.findKey(ctx, k.Name)
	if err != nil {
		return err
	}
	path := d.keys.path(k.Name)
	switch {
	case there != nil && there.Path != path:
		return errdefs.New(errdefs.AlreadyExists, "%s exists, and is not ours: its file is %s: remove it, or use another name", k.Key(), there.Path)
	case there != nil && d.keys.there(path):
		if !d.keys.holds(k.Name, k.PSK) {
			return errdefs.New(errdefs.AlreadyExists, "%s exists and differs in psk: delete it, or use another name", k.Key())
		}
		return exists(step, &driver.TLSKey{Name: k.Name}, addKey, nil)
	}
	if err := d.keys.write(k.Name, k.PSK); err != nil {
		return d.fileTrouble(k.Name, err)
	}
	if there != nil {
		return nil // only its file had gone
	}
	err = spdkrpc.KeyringFileAddKey{Name: keyringName(k.Name), Path: path}.Do(ctx, d.client)
	if err == nil {
		return nil
	}
	if errdefs.ClassOf(err) == errdefs.OutcomeUnknown {
		return plain(addKey, err, "add TLS key %s", k.Name) // it may be there: the file stays
	}
	if removeErr := d.keys.remove(k.Name); removeErr != nil {
		d.log.Warn("the file of a refused TLS key cannot be removed", "resource", k.Name, "err", removeErr)
	}
	refusal := spdkrpc.Refusal(err)
	switch {
	case refusal == nil:
	case refusal.Code == spdkrpc.CodeNoEntry, refusal.Code == spdkrpc.CodePerm, refusal.Code == spdkrpc.CodeAccess:
		return refuse(errdefs.FailedPrecondition, addKey, err,
			"TLS key %s: the data plane at %s does not take it from %s: it must see the bridge's directory %s under the same path, and run as the same user (number %s)",
			k.Name, d.where, path, d.keys.dir, userID())
	}
	return plain(addKey, err, "add TLS key %s", k.Name)
}

// fileTrouble is the outcome of a step that could not write a key.
func (d *Driver) fileTrouble(name string, err error) error {
	if errdefs.ClassOf(err) == errdefs.Canceled || errdefs.ClassOf(err) == errdefs.DeadlineExceeded {
		return err
	}
	return errdefs.Wrap(errdefs.FailedPrecondition, err, "TLS key %s cannot be written to directory %s", name, d.keys.dir)
}

// deleteTLSKey removes a key and its file once nobody uses it any more. SPDK would remove it at any
// time, and its users could not connect again.
func (d *Driver) deleteTLSKey(ctx context.Context, k *driver.TLSKey) error {
	unlock, err := d.hold(ctx, "tls key "+k.Name)
	if err != nil {
		return err
	}
	defer unlock()
	if sess, _ := d.now(); !sess.features.Keyring && sess.methods != nil {
		d.pathKeys.set(k.Name, false)
		return d.removeKeyFile(k.Name)
	}
	for end := time.Now().Add(releaseTime); ; {
		there, err := d.findKey(ctx, k.Name)
		if err != nil {
			return err
		}
		if there == nil {
			return d.removeKeyFile(k.Name)
		}
		if there.Refcnt <= 1 {
			return d.dropKey(ctx, k.Name, d.keys.ours(there.Path))
		}
		if time.Now().After(end) {
			return errdefs.New(errdefs.FailedPrecondition,
				"TLS key %s: %d hosts or paths use it: delete them first", k.Name, there.Refcnt-1)
		}
		if err := pause(ctx, lookPause); err != nil {
			return err
		}
	}
}

// dropKey removes a key and then its file, if that is ours: a bridge that dies between the two sweeps
// the file when it is back, whereas a key without its file looks as if it were gone.
func (d *Driver) dropKey(ctx context.Context, name string, ours bool) error {
	const method = "keyring_file_remove_key"
	err := spdkrpc.KeyringFileRemoveKey(ctx, d.client, keyringName(name))
	if r := spdkrpc.Refusal(err); err != nil && (r == nil || r.Code != spdkrpc.CodeNoKey) {
		return plain(method, err, "remove TLS key %s", name)
	}
	if !ours {
		return nil
	}
	return d.removeKeyFile(name)
}

func (d *Driver) removeKeyFile(name string) error {
	if d.keys.dir == "" {
		return nil
	}
	if err := d.keys.remove(name); err != nil {
		return errdefs.Wrap(errdefs.FailedPrecondition, err, "the file of TLS key %s cannot be removed", name)
	}
	return nil
}

// sweepKeys removes files that were written for keys which the keyring does not have: left by a bridge
// that died, or for a data plane that has been restarted since.
func (d *Driver) sweepKeys(ctx context.Context, c spdkrpc.Caller, s session) error {
	if d.keys.dir == "" || !s.features.Keyring || !s.methods["keyring_get_keys"] {
		return nil
	}
	var asked error
	removed, err := d.keys.sweep(ctx, func() (map[string]bool, error) {
		keys, err := spdkrpc.GetKeyringKeys(ctx, c)
		if err != nil {
			asked = fmt.Errorf("ask for keys: %w", err)
			return nil, asked
		}
		paths := make(map[string]bool, len(keys))
		for i := range keys {
			paths[keys[i].Path] = true
		}
		return paths, nil
	})
	switch {
	case asked != nil:
		return asked
	case err != nil:
		d.log.Warn("files of keys that are not used any more cannot be removed", "err", err)
	case removed > 0:
		d.log.Info("files of keys that are not used any more have been removed", "count", removed)
	}
	return nil
}
