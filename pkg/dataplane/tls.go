// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// noDHCHAP is what is said of keys that exist and cannot be used.
const noDHCHAP = "a dhchap key cannot be used: opi-dataplane has no DH-HMAC-CHAP"

// keyKnown says whether a key has been added by that name; on the turn.
func (s *Server) keyKnown(name *string) bool { return name != nil && s.keyring.find(*name) != nil }

// pskOf returns the key that a psk names, by the name of a key or, in older versions, by the path of a
// file, or nil if SPDK would find none; on the turn. A path is a key without a name.
func (s *Server) pskOf(psk string) *fileKey {
	if s.manners.pskName {
		if key := s.keyring.find(psk); key != nil {
			return key
		}
	}
	if s.manners.pskPath && checkKeyFile(psk) == 0 {
		return &fileKey{path: psk}
	}
	return nil
}

// param is how the key is named where it is used.
func (k *fileKey) param() string {
	if k.name == "" {
		return k.path
	}
	return k.name
}

// load reads the key. Its file must still be one that nobody else can read. Errors do not tell the key.
func (k *fileKey) load() (nvme.PSK, error) {
	const most = 4096 // any key is much shorter
	if errno := checkKeyFile(k.path); errno != 0 {
		return nvme.PSK{}, errdefs.Wrap(errdefs.FailedPrecondition, errno, "key %q: file %s", k.param(), k.path)
	}
	f, err := os.Open(k.path)
	if err != nil {
		return nvme.PSK{}, fmt.Errorf("key %q: %w", k.param(), err)
	}
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err = errors.Join(err, f.Close()); err != nil {
		return nvme.PSK{}, fmt.Errorf("key %q: %w", k.param(), err)
	}
	psk, err := nvme.ParsePSK(text)
	if err != nil {
		return nvme.PSK{}, errdefs.Wrap(errdefs.InvalidArgument, err, "key %q in file %s", k.param(), k.path)
	}
	return psk, nil
}

// keyUsers counts the hosts and paths that use each key; on the turn.
func (s *Server) keyUsers() map[*fileKey]int {
	users := s.attached.keyUsers(s.host)
	for key, n := range s.nvmf.keyUsers() {
		users[key] += n
	}
	return users
}

// noKey is what is said of a psk that names no key.
func (c *call) noKey() { c.later("", func() { c.failErrno(syscall.ENOKEY) }) }
