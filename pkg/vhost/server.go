// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// maxPathBytes is the length of a socket path that the kernel takes. Longer ones are cut, as SPDK does.
const maxPathBytes = 107

// acceptPause is how long a controller waits when the process has no file descriptors left.
const acceptPause = 100 * time.Millisecond

// Config is what a server needs.
type Config struct {
	// Registry has the bdevs. Required.
	Registry *bdev.Registry
	// Dir is the directory of the sockets; "" is the working directory.
	Dir string
	// Log is required.
	Log *slog.Logger
}

// Server holds the vhost controllers of a process. Its methods are safe for concurrent use.
type Server struct {
	cfg Config
	// stop is closed by Close.
	stop chan struct{}

	// creating is held while a controller is made, so that names and paths are looked at in turn. It
	// is taken before mu.
	creating sync.Mutex

	mu sync.Mutex
	// controllers are by name; guarded by mu.
	controllers map[string]*Controller
	// vids are the numbers of sessions in use; guarded by mu.
	vids map[int]struct{}
	// closed refuses further controllers; guarded by mu.
	closed bool
}

// NewServer checks the settings. What is missing is InvalidArgument.
func NewServer(cfg Config) (*Server, error) {
	if cfg.Registry == nil || cfg.Log == nil {
		return nil, errdefs.New(errdefs.InvalidArgument, "a vhost server needs a registry of bdevs and a logger")
	}
	return &Server{cfg: cfg, stop: make(chan struct{}), controllers: make(map[string]*Controller), vids: make(map[int]struct{})}, nil
}

// Options describe a controller.
type Options struct {
	// Name of the controller and of its socket in the server's directory. Required.
	Name string
	// Bdev is the name, alias or uuid of the bdev. Required.
	Bdev string
	// ReadOnly keeps front ends from writing.
	ReadOnly bool
}

// Create makes a controller and serves front ends from then on. The bdev is opened for writing,
// without a claim. Errors carry the errno which SPDK answers with: a name that is taken is
// AlreadyExists (EEXIST), an unknown bdev NotFound (ENODEV), a claimed one FailedPrecondition (EPERM),
// one whose blocks are not made of 512-byte sectors InvalidArgument (EINVAL), a socket that cannot be
// made FailedPrecondition (EIO).
func (s *Server) Create(o Options) (*Controller, error) {
	path := s.cfg.Dir
	if path != "" && !strings.HasSuffix(path, "/") {
		path += "/"
	}
	path += o.Name
	path = path[:min(len(path), maxPathBytes)]
	s.creating.Lock()
	defer s.creating.Unlock()
	if err := s.check(o.Name, path); err != nil {
		return nil, err
	}
	c, err := newController(s, &o, path)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.controllers[o.Name] = c
	s.mu.Unlock()
	c.running.Go(c.accept)
	c.log.Info("vhost controller created", "socket", path, "bdev", c.bdevName)
	return c, nil
}

// check finds what speaks against a new controller.
func (s *Server) check(name, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return errdefs.New(errdefs.Unavailable, "vhost controller %q: the server is closed", name)
	case name == "":
		return errdefs.Wrap(errdefs.FailedPrecondition, syscall.EIO, "a vhost controller needs a name")
	case s.controllers[name] != nil:
		return errdefs.Wrap(errdefs.AlreadyExists, syscall.EEXIST, "vhost controller %q exists", name)
	}
	for _, c := range s.controllers {
		if c.path == path {
			return errdefs.Wrap(errdefs.FailedPrecondition, syscall.EIO, "vhost controller %q: %q has the socket %s already", name, c.name, path)
		}
	}
	return nil
}

func errNotFound(name string) error {
	return errdefs.Wrap(errdefs.NotFound, syscall.ENODEV, "there is no vhost controller %q", name)
}

// Controller returns the controller with that name, or NotFound (ENODEV).
func (s *Server) Controller(name string) (*Controller, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.controllers[name]; c != nil {
		return c, nil
	}
	return nil, errNotFound(name)
}

// Controllers tells about all controllers, sorted by name.
func (s *Server) Controllers() []Info {
	infos := []Info{}
	for _, c := range s.all() {
		infos = append(infos, c.Info())
	}
	return infos
}

// all returns the controllers, sorted by name.
func (s *Server) all() []*Controller {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.controllers), func(a, b *Controller) int { return strings.Compare(a.name, b.name) })
}

// Delete removes a controller as soon as no front end is connected to it; until then the controller
// stays as it is, also for new front ends. An unknown one is NotFound (ENODEV); when ctx ends first
// nothing has changed, which is FailedPrecondition.
func (s *Server) Delete(ctx context.Context, name string) error {
	c, err := s.Controller(name)
	if err != nil {
		return err
	}
	if err := c.idle(ctx); err != nil {
		return err
	}
	if err := c.close(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.controllers[name] == c {
		delete(s.controllers, name)
		c.log.Info("vhost controller deleted")
	}
	return nil
}

// Close removes all controllers, without waiting for front ends to go: their sessions answer what is
// in flight and end. If ctx ends before requests at a bdev do, Close returns DeadlineExceeded, and may
// be called again to wait for them.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
	}
	s.mu.Unlock()
	s.creating.Lock() // one that is being made is made now
	defer s.creating.Unlock()
	controllers := s.all()
	errs := make([]error, len(controllers))
	var wait sync.WaitGroup
	for i, c := range controllers {
		wait.Go(func() { errs[i] = c.close(ctx) })
	}
	wait.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range controllers {
		if errs[i] == nil {
			delete(s.controllers, c.name)
		}
	}
	return errors.Join(errs...)
}

// takeVID returns the lowest number of a session that is free.
func (s *Server) takeVID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for vid := 0; ; vid++ {
		if _, taken := s.vids[vid]; !taken {
			s.vids[vid] = struct{}{}
			return vid
		}
	}
}

func (s *Server) putVID(vid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.vids, vid)
}
