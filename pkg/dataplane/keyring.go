// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func keyringMethods() []method {
	list := without("keyring_get_keys", refusedArgument, listKeys)
	list.careless = true
	return []method{
		taking("keyring_file_add_key", refusedArgument, addKey).lenient(),
		taking("keyring_file_remove_key", refusedArgument, removeKey),
		list,
	}
}

// keyring knows where keys are. Their files are read when somebody begins to use them. It is touched on
// the turn only.
type keyring struct {
	keys []*fileKey
	// removed are keys that were in use when they were removed.
	removed []*fileKey
}

// fileKey is a key by its names. It is constant.
type fileKey struct{ name, path string }

// find returns the key of that name, or nil. A colon before the name stands for the only keyring there
// is.
func (k *keyring) find(name string) *fileKey {
	name = strings.TrimPrefix(name, ":")
	i := slices.IndexFunc(k.keys, func(key *fileKey) bool { return strings.TrimPrefix(key.name, ":") == name })
	if i < 0 {
		return nil
	}
	return k.keys[i]
}

type addKeyParams struct {
	Name string `rpc:"name,required"`
	Path string `rpc:"path,required"`
}

func addKey(_ context.Context, c *call, p *addKeyParams) {
	ring := &c.server.keyring
	switch {
	case strings.Index(p.Name, ":") > 0: // another keyring
		c.failErrno(syscall.EINVAL)
		return
	case ring.find(p.Name) != nil:
		c.failErrno(syscall.EEXIST)
		return
	}
	if errno := checkKeyFile(p.Path); errno != 0 {
		c.failErrno(errno)
		return
	}
	ring.keys = append(ring.keys, &fileKey{name: p.Name, path: p.Path})
	c.reply(true)
}

// checkKeyFile refuses files that others than the own user can read, or might exchange.
func checkKeyFile(path string) syscall.Errno {
	const others = 0o077
	if !filepath.IsAbs(path) {
		return syscall.EPERM
	}
	info, err := os.Stat(path)
	if err != nil {
		var errno syscall.Errno
		if !errors.As(err, &errno) {
			errno = syscall.EIO
		}
		return errno
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if info.Mode().Perm()&others != 0 || !ok || int(stat.Uid) != os.Getuid() {
		return syscall.EPERM
	}
	return 0
}

func removeKey(_ context.Context, c *call, p *nameParams) {
	ring := &c.server.keyring
	key := ring.find(p.Name)
	if key == nil {
		c.failErrno(syscall.ENOKEY)
		return
	}
	ring.keys = slices.DeleteFunc(ring.keys, func(k *fileKey) bool { return k == key })
	ring.removed = append(ring.removed, key)
	c.reply(true)
}

// keyResult is a key as SPDK shows it. The keyring holds a reference until the key is removed, and so
// does each host and path that uses it.
type keyResult struct {
	Name    string `json:"name"`
	Module  string `json:"module"`
	Removed bool   `json:"removed"`
	Probed  bool   `json:"probed"`
	Refcnt  int    `json:"refcnt"`
	Path    string `json:"path,omitempty"`
}

// keyModule is the kind of keyring there is.
const keyModule = "keyring_file"

func listKeys(_ context.Context, c *call) {
	ring := &c.server.keyring
	users := c.server.keyUsers()
	out := make([]keyResult, 0, len(ring.keys))
	for _, key := range ring.keys {
		out = append(out, keyResult{Name: key.name, Module: keyModule, Refcnt: 1 + users[key], Path: key.path})
	}
	ring.removed = slices.DeleteFunc(ring.removed, func(key *fileKey) bool { return users[key] == 0 })
	for _, key := range ring.removed {
		out = append(out, keyResult{Name: key.name, Module: keyModule, Removed: true, Refcnt: users[key]})
	}
	c.reply(out)
}

type keyConfig struct {
	Name string `json:"name"`
	Path string `json:"path"`
}

// config lists the calls that would add the keys anew.
func (k *keyring) config() []configEntry {
	out := make([]configEntry, 0, len(k.keys))
	for _, key := range k.keys {
		out = append(out, configEntry{Method: "keyring_file_add_key", Params: keyConfig{Name: key.name, Path: key.path}})
	}
	return out
}
