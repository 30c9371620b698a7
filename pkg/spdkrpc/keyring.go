// SPDX-License-Identifier: Apache-2.0

package spdkrpc

import "context"

// KeyringFileAddKey are parameters of keyring_file_add_key (v24.05).
type KeyringFileAddKey struct {
	// Name has no colon, unless it is the first character.
	Name string `json:"name"`
	// Path is absolute; the file is SPDK's user's own and nobody else can reach it. The content is read
	// whenever the key is used.
	Path string `json:"path"`
}

// Do makes the call.
func (p KeyringFileAddKey) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "keyring_file_add_key", p, nil)
}

// KeyringFileRemoveKey removes a key, used or not; CodeNoKey if there is none. Users keep what they
// have read of it.
func KeyringFileRemoveKey(ctx context.Context, c Caller, name string) error {
	return c.Call(ctx, "keyring_file_remove_key", named{name}, nil)
}

// KeyringKey is an element of keyring_get_keys.
type KeyringKey struct {
	Name    string `json:"name"`
	Module  string `json:"module"`  // "keyring_file" for those of KeyringFileAddKey
	Removed bool   `json:"removed"` // removed while in use, and gone with its last user
	Refcnt  int    `json:"refcnt"`  // 1 for the keyring, and 1 for each user
	Path    string `json:"path"`    // not with all modules, nor when removed
}

// GetKeyringKeys returns all keys (keyring_get_keys), without their content.
func GetKeyringKeys(ctx context.Context, c Caller) ([]KeyringKey, error) {
	return get[[]KeyringKey](ctx, c, "keyring_get_keys", nil)
}
