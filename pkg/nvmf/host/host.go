// SPDX-License-Identifier: Apache-2.0

// Package host is an NVMe/TCP initiator: it attaches remote controllers and registers their
// namespaces as block devices, with several paths to each, reconnecting, and SPDK's manners
// (bdev_nvme): names, states, errors, and what it does not read again after a reconnect.
//
// A controller has a name and one or more paths. A path is a connection to a controller of the
// remote subsystem: an admin queue and I/O queues. A namespace is one bdev, "<name>n<nsid>", over all
// paths that show it.
//
// Remote controllers are not trusted: what they send is checked before it is used, and a controller
// that breaks the protocol loses the connection.
package host

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Config is what a Host needs.
type Config struct {
	// Registry is where bdevs go; required.
	Registry *bdev.Registry
	// Log is where it is told what happens; nil for nowhere.
	Log *slog.Logger
	// HostID identifies this host; nil for a random one. The default host NQN is made of it.
	HostID uuid.UUID
	// AnswerTimeout bounds the wait for an answer during connect and to admin commands; 0 is 10 s.
	AnswerTimeout time.Duration
	// DetachTimeout bounds how long Detach waits; 0 is 10 s.
	DetachTimeout time.Duration
	// RetryPause is the time between attempts to reconnect when no delay is set; 0 is 100 ms.
	RetryPause time.Duration
	// EventDelay is how long after the news of changed namespaces the host looks at them; 0 is at once.
	// What comes and goes meanwhile is not seen, and an identifier that is used again keeps the
	// identity it had: SPDK's host takes 20 to 110 ms.
	EventDelay time.Duration
	// QueuesMax bounds the number of I/O queues of a path; 0 is the number of processors.
	QueuesMax int
}

// Host holds the attached controllers of a process. Its methods are safe for concurrent use.
type Host struct {
	cfg     Config
	log     *slog.Logger
	hostnqn string
	// retryCount and countPaths are Options that the I/O path reads.
	retryCount atomic.Int32
	countPaths atomic.Bool
	tasks      sync.WaitGroup

	// mu is not held over calls to the registry or to a controller. A path's own lock may be taken
	// while it is held, not the other way round.
	mu sync.Mutex
	// options is guarded by mu.
	options Options
	// controllers are in order of creation; guarded by mu, and so is what is in them.
	controllers []*controller
	// closed is guarded by mu.
	closed bool
}

// controller is a name with its paths and namespaces. All of it is guarded by Host.mu, but for the
// constant first fields.
type controller struct {
	host      *Host
	name      string
	multipath bool // whether further paths are paths of their own, or addresses to fail over to
	policy    Multipath

	paths   []*path
	devices map[uint32]*device
}

// New checks the configuration and returns a Host without controllers.
func New(cfg Config) (*Host, error) {
	if cfg.Registry == nil {
		return nil, invalid("an NVMe host needs a registry of bdevs")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.HostID == uuid.Nil {
		cfg.HostID = uuid.New()
	}
	const patience = 10 * time.Second
	if cfg.AnswerTimeout == 0 {
		cfg.AnswerTimeout = patience
	}
	if cfg.DetachTimeout == 0 {
		cfg.DetachTimeout = patience
	}
	if cfg.RetryPause == 0 {
		cfg.RetryPause = 100 * time.Millisecond
	}
	if cfg.QueuesMax == 0 {
		cfg.QueuesMax = defaultQueues()
	}
	h := &Host{cfg: cfg, log: cfg.Log, hostnqn: "nqn.2014-08.org.nvmexpress:uuid:" + cfg.HostID.String()}
	h.setOptions(DefaultOptions())
	return h, nil
}

// DefaultHostNQN returns the NQN under which the host connects when none is given.
func (h *Host) DefaultHostNQN() string { return h.hostnqn }

// Options returns the options in force.
func (h *Host) Options() Options {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.options
}

// SetOptions replaces the options. While a controller exists that is refused (a Refusal with EPERM);
// options that do not fit together are InvalidArgument (EINVAL).
func (h *Host) SetOptions(o Options) error {
	if err := o.validate(); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.controllers) > 0 {
		return refuse(errdefs.FailedPrecondition, syscall.EPERM, "RPC not permitted with nvme controllers already attached")
	}
	h.setOptions(o)
	return nil
}

func (h *Host) setOptions(o Options) {
	h.options = o
	h.retryCount.Store(o.BdevRetryCount)
	h.countPaths.Store(o.IOPathStat)
}

// Close detaches all controllers and waits until everything the host has started is over, or until
// ctx ends. An opener that does not let go of a bdev holds it up.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	var paths []*path
	for _, c := range h.controllers {
		paths = append(paths, c.paths...)
	}
	h.mu.Unlock()
	for _, p := range paths {
		p.remove()
	}
	over := make(chan struct{})
	go func() {
		h.tasks.Wait()
		close(over)
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("detach all NVMe controllers"), context.Cause(ctx))
	}
}

// find returns the controller of that name, or nil; the caller holds mu.
func (h *Host) find(name string) *controller {
	for _, c := range h.controllers {
		if c.name == name {
			return c
		}
	}
	return nil
}

// device returns the device behind a bdev, by name, alias or uuid, or nil.
func (h *Host) device(name string) *device {
	info, err := h.cfg.Registry.Lookup(name)
	if err != nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.controllers {
		for _, d := range c.devices {
			if d.name == info.Name {
				return d
			}
		}
	}
	return nil
}

// drop forgets a path, and its controller with the last one; the caller holds mu.
func (h *Host) drop(p *path) {
	c := p.ctrl
	c.paths = slices.DeleteFunc(c.paths, func(q *path) bool { return q == p })
	if len(c.paths) == 0 {
		h.controllers = slices.DeleteFunc(h.controllers, func(d *controller) bool { return d == c })
	}
}
