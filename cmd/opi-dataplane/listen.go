// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxSocketPath is the longest path a unix socket can have, in bytes.
const maxSocketPath = 107

// endpoint is where RPCs are served.
type endpoint struct{ network, address string }

// parseEndpoint reads unix:///PATH or tcp://HOST:PORT.
func parseEndpoint(s string) (endpoint, error) {
	u, err := url.Parse(s)
	if err != nil {
		return endpoint{}, fmt.Errorf("--rpc-listen %q is not a URL: %w", s, err)
	}
	switch u.Scheme {
	case "unix":
		switch {
		case u.Host != "" || !filepath.IsAbs(u.Path):
			return endpoint{}, fmt.Errorf("--rpc-listen %q: write unix:// and an absolute path, with three slashes", s)
		case len(u.Path) > maxSocketPath:
			return endpoint{}, fmt.Errorf("--rpc-listen %q: the path of a socket has at most %d bytes", s, maxSocketPath)
		}
		return endpoint{network: "unix", address: u.Path}, nil
	case "tcp":
		if u.Port() == "" || strings.Trim(u.Path, "/") != "" {
			return endpoint{}, fmt.Errorf("--rpc-listen %q: write tcp://HOST:PORT", s)
		}
		return endpoint{network: "tcp", address: u.Host}, nil
	default:
		return endpoint{}, fmt.Errorf("--rpc-listen %q: write unix:///PATH or tcp://HOST:PORT", s)
	}
}

// listen opens the endpoint. A socket that a killed process has left is replaced, one that is being
// served is not. The returned function removes what listen made; the listener has been closed by then.
func (e endpoint) listen(ctx context.Context) (net.Listener, func() error, error) {
	cleanup := func() error { return nil }
	if e.network == "unix" {
		lock, err := lockSocket(e.address)
		if err != nil {
			return nil, nil, err
		}
		cleanup = func() error {
			return errors.Join(ignoreMissing(os.Remove(e.address)), ignoreMissing(os.Remove(lock.Name())), lock.Close())
		}
		if err := removeStale(e.address); err != nil {
			return nil, nil, errors.Join(err, lock.Close())
		}
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, e.network, e.address)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("listen for RPCs: %w", err), cleanup())
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the lock is held until the socket is gone
	}
	return l, cleanup, nil
}

// lockSocket takes the lock beside a socket's path, as SPDK does: whoever holds it serves there.
func lockSocket(path string) (*os.File, error) {
	name := path + ".lock"
	lock, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator says where
	if err != nil {
		return nil, fmt.Errorf("lock the RPC socket: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(
			fmt.Errorf("RPC socket %s is in use by another process, which holds %s; stop it or choose another path: %w",
				path, name, err), lock.Close())
	}
	return lock, nil
}

// removeStale removes a socket nobody serves any more, and nothing else.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at the RPC socket: %w", err)
	case info.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("%s exists and is not a socket; remove it or choose another path", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the stale RPC socket: %w", err)
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
