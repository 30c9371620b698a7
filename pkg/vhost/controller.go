// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// maxSessions is the number of front ends that a controller serves at a time, those included whose
// requests are still in flight.
const maxSessions = 8

// Controller is a socket that front ends connect to, and the bdev that they get.
type Controller struct {
	server   *Server
	name     string
	bdevName string
	readOnly bool
	features uint64
	log      *slog.Logger
	buffers  buffers
	backing  atomic.Pointer[backing]

	listener *net.UnixListener
	path     string
	// inode tells the socket from another that has taken its place.
	inode uint64
	// running counts the goroutines of the listener and of sessions.
	running sync.WaitGroup

	mu sync.Mutex
	// sessions are in the order in which they came; guarded by mu.
	sessions []*session
	// accepted counts all sessions there have been; guarded by mu.
	accepted int
	// closing refuses further sessions; guarded by mu.
	closing bool
	// left is closed and replaced when a session goes; guarded by mu.
	left chan struct{}
}

// newController opens the bdev and the socket. Nothing is served yet.
func newController(s *Server, o *Options, path string) (*Controller, error) {
	c := &Controller{
		server: s, name: o.Name, readOnly: o.ReadOnly, path: path, left: make(chan struct{}),
		log: s.cfg.Log.With("controller", o.Name),
	}
	b := &backing{}
	opened := make(chan struct{}) // events may come before Open has returned
	defer close(opened)
	desc, err := s.cfg.Registry.Open(o.Bdev, true, bdev.Events{
		Removed: func() {
			<-opened
			c.removed(b)
		},
		Resized: c.resized,
	})
	if err != nil {
		return nil, fmt.Errorf("vhost controller %q: %w", o.Name, err)
	}
	b.desc = desc
	if size := desc.Geometry().BlockSizeBytes; size == 0 || size%sectorBytes != 0 {
		return nil, errors.Join(errdefs.Wrap(errdefs.InvalidArgument, syscall.EINVAL,
			"vhost controller %q: blocks of bdev %q have %d bytes, and virtio has sectors of %d", o.Name, o.Bdev, size, sectorBytes), desc.Close())
	}
	_, b.copies = desc.Memory()
	c.bdevName = desc.Name()
	c.features = blockFeatures(desc.Spec().IOTypes, o.ReadOnly)
	c.backing.Store(b)
	if err := c.listen(); err != nil {
		return nil, errors.Join(errdefs.Wrap(errdefs.FailedPrecondition, errors.Join(syscall.EIO, err), "vhost controller %q", o.Name), desc.Close())
	}
	return c, nil
}

// listen makes the socket. An old socket is replaced, another file is not.
func (c *Controller) listen() error {
	info, err := os.Lstat(c.path)
	switch {
	case err == nil && info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("%s is in the way: remove it, or choose another name", c.path)
	case err == nil:
		err = os.Remove(c.path)
	case errors.Is(err, os.ErrNotExist):
		err = nil
	}
	if err != nil {
		return fmt.Errorf("make room for the socket: %w", err)
	}
	c.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: c.path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	c.listener.SetUnlinkOnClose(false)
	c.inode = inodeOf(c.path)
	return nil
}

// inodeOf returns the inode of a file, or 0.
func inodeOf(path string) uint64 {
	var stat unix.Stat_t
	if unix.Lstat(path, &stat) != nil {
		return 0
	}
	return stat.Ino
}

// accept serves front ends until the listener is closed.
func (c *Controller) accept() {
	for {
		sock, err := c.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			c.log.Error("cannot accept a front end", "err", err)
			select {
			case <-time.After(acceptPause):
				continue
			case <-c.server.stop:
				return
			}
		}
		if s := c.admit(sock); s != nil {
			c.running.Go(func() {
				s.serve()
				c.leave(s)
			})
		} else {
			c.log.Warn("front end turned away: there are too many", "sessions", maxSessions)
			_ = sock.Close()
		}
	}
}

// admit makes a session, unless there are too many. Sessions whose front end is gone come before it,
// even if their end has not been noticed yet.
func (c *Controller) admit(sock *net.UnixConn) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || len(c.sessions) >= maxSessions {
		return nil
	}
	s := newSession(c, sock, c.accepted, c.server.takeVID())
	c.accepted++
	for _, old := range c.sessions {
		if old.conn.hungUp() {
			s.after = append(s.after, old.ended)
		}
	}
	c.sessions = append(c.sessions, s)
	return s
}

// leave forgets a session that has ended.
func (c *Controller) leave(s *session) {
	c.mu.Lock()
	for i, other := range c.sessions {
		if other == s {
			c.sessions = append(c.sessions[:i:i], c.sessions[i+1:]...)
			break
		}
	}
	close(c.left)
	c.left = make(chan struct{})
	c.mu.Unlock()
	c.server.putVID(s.vid)
}

// device returns the open bdev, or nil when it has been removed.
func (c *Controller) device() *backing { return c.backing.Load() }

// removed lets go of the bdev: requests that come from now on fail.
func (c *Controller) removed(b *backing) {
	c.log.Info("bdev removed: requests fail from now on", "bdev", c.bdevName)
	c.backing.CompareAndSwap(b, nil)
	b.close()
}

// resized tells front ends.
func (c *Controller) resized() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		s.configChanged()
	}
}

// config is the config space now. Without a bdev the device has no blocks.
func (c *Controller) config() [configBytes]byte {
	var g bdev.Geometry
	if b := c.device(); b != nil && b.enter() {
		g = b.desc.Geometry()
		b.leave()
	}
	return configSpace(g, c.features)
}

// idle waits until no session is left, and takes no further ones from that moment on. While sessions
// are there the controller goes on as ever.
func (c *Controller) idle(ctx context.Context) error {
	for {
		c.mu.Lock()
		if len(c.sessions) == 0 {
			c.closing = true
		}
		done, left := c.closing, c.left
		c.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-left:
		case <-ctx.Done():
			return errdefs.Wrap(errdefs.FailedPrecondition, context.Cause(ctx), "vhost controller %q still has a front end", c.name)
		}
	}
}

// close ends everything: no further sessions, those there are answer what is in flight and end, the
// socket is removed, the bdev closed. It may be called again.
func (c *Controller) close(ctx context.Context) error {
	c.mu.Lock()
	c.closing = true
	for _, s := range c.sessions {
		s.release()
	}
	c.mu.Unlock()
	if inodeOf(c.path) == c.inode {
		_ = os.Remove(c.path)
	}
	_ = c.listener.Close()
	done := make(chan struct{})
	go func() {
		c.running.Wait()
		if b := c.backing.Swap(nil); b != nil {
			b.close()
		}
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errdefs.Wrap(errdefs.DeadlineExceeded, context.Cause(ctx), "vhost controller %q waits for requests at bdev %q", c.name, c.bdevName)
	}
}

// Info is what a controller tells about itself.
type Info struct {
	// Name and Socket, the path of its socket, identify the controller.
	Name, Socket string
	// ReadOnly says that front ends cannot write.
	ReadOnly bool
	// Bdev is the name of the bdev, "" when it has been removed.
	Bdev string
	// Sessions are those of front ends, in the order in which they came.
	Sessions []SessionInfo
}

// Info returns a snapshot. Safe for concurrent use.
func (c *Controller) Info() Info {
	i := Info{Name: c.name, Socket: c.path, ReadOnly: c.readOnly, Sessions: []SessionInfo{}}
	if c.device() != nil {
		i.Bdev = c.bdevName
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		i.Sessions = append(i.Sessions, s.info())
	}
	return i
}
