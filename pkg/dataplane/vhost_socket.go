// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// maxSocketBytes is the longest path of a unix socket; a longer one is cut there, as SPDK does.
const maxSocketBytes = 107

// scsiSocket is the socket of a vhost-scsi controller. Who connects is sent away.
type scsiSocket struct {
	listener *net.UnixListener
	log      *slog.Logger
	once     sync.Once
	done     chan struct{} // closed when nobody accepts any more
}

// socketPath returns where the socket of a controller is, once it has one.
func socketPath(dir, name string) string {
	path := filepath.Join(dir, name)
	return path[:min(len(path), maxSocketBytes)]
}

// listenSCSI makes a socket. An old socket is replaced, another file is not.
func listenSCSI(dir, name string, log *slog.Logger) (*scsiSocket, error) {
	path := socketPath(dir, name)
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.Mode().Type() != os.ModeSocket:
		return nil, fmt.Errorf("%s is in the way: remove it, or choose another name", path)
	case err == nil:
		err = os.Remove(path)
	case errors.Is(err, os.ErrNotExist):
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("make room for the socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &scsiSocket{listener: l, log: log.With("controller", name), done: make(chan struct{})}
	go s.run()
	return s, nil
}

// run sends everybody away until the listener is closed.
func (s *scsiSocket) run() {
	defer close(s.done)
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.log.Warn("a front end of vhost-scsi was sent away: opi-dataplane serves vhost-user-blk only")
		_ = conn.Close()
	}
}

// close removes the socket.
func (s *scsiSocket) close() {
	s.once.Do(func() { _ = s.listener.Close() }) // which removes the file
	<-s.done
}
