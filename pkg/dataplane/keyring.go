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

// keyring knows where keys are. It looks at a file's name and rights only: what is in it nobody here
// can use, because there is neither TLS nor DH-HMAC-CHAP. It is touched on the turn only.
type keyring struct{ keys []fileKey }

// fileKey is a key by its names.
type fileKey struct{ name, path string }

// find returns where the key of that name is, or -1. A colon before the name stands for the only
// keyring there is.
func (k *keyring) find(name string) int {
	name = strings.TrimPrefix(name, ":")
	return slices.IndexFunc(k.keys, func(key fileKey) bool { return strings.TrimPrefix(key.name, ":") == name })
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
	case ring.find(p.Name) >= 0:
		c.failErrno(syscall.EEXIST)
		return
	}
	if errno := checkKeyFile(p.Path); errno != 0 {
		c.failErrno(errno)
		return
	}
	ring.keys = append(ring.keys, fileKey{name: p.Name, path: p.Path})
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
	i := ring.find(p.Name)
	if i < 0 {
		c.failErrno(syscall.ENOKEY)
		return
	}
	ring.keys = slices.Delete(ring.keys, i, i+1)
	c.reply(true)
}

// keyResult is a key as SPDK shows it. Nobody can use one here, so the keyring holds the only
// reference.
type keyResult struct {
	Name    string `json:"name"`
	Module  string `json:"module"`
	Removed bool   `json:"removed"`
	Probed  bool   `json:"probed"`
	Refcnt  int    `json:"refcnt"`
	Path    string `json:"path"`
}

// keyModule is the kind of keyring there is.
const keyModule = "keyring_file"

func listKeys(_ context.Context, c *call) {
	out := make([]keyResult, 0, len(c.server.keyring.keys))
	for _, key := range c.server.keyring.keys {
		out = append(out, keyResult{Name: key.name, Module: keyModule, Refcnt: 1, Path: key.path})
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
