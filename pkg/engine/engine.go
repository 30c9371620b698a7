// SPDX-License-Identifier: Apache-2.0

// Package engine is the one mechanism that makes the data plane equal to what was asked for. It knows
// no kind, store or card by name.
//
// A mutation is admitted (admit.go: everything that memory can tell is checked), its intent written
// to the store (intent.go), the difference between what should be and what is there planned (diff.go,
// plan.go, both pure) and applied (apply.go), and its outcome written; only then is it answered. A
// definite refusal by the data plane is undone (undo.go). A lost answer leaves the intent standing,
// and a pass (pass.go) finds out by observing; an answer that the store has lost is asked for again
// (limbo.go). The same pass replays everything after a restart of
// the bridge or of the data plane, retries what waits, and repairs drift; queue.go says when.
//
// What is asked for is kept in memory as an index over the records (index.go), what is there as the
// world last seen plus our own changes since (world.go); reads are answered from both.
package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

// Config is what an engine is made of.
type Config struct {
	// Driver is the data plane. Required. Its Run is the caller's to call.
	Driver driver.Driver
	// Store keeps the records. Required. The caller closes it after Run has returned.
	Store store.Store
	// Kinds are the kinds to serve. Required.
	Kinds []*resource.Kind
	// Sealer seals the secrets of records for the store. Nil means that resources with secrets are
	// refused.
	Sealer *secret.Sealer
	// Log receives one line for each change of state. Required.
	Log *slog.Logger
	// CheckID says what is wrong with an id that a client chose, naming the request field it came in;
	// nil means resource.CheckNewID.
	CheckID func(field, id string) error
	// AuditInterval is the time between two looks at the whole data plane when nothing calls for one;
	// 0 means 30 s. A large data plane is looked at less often, so that looking costs at most a
	// third of a percent of a core.
	AuditInterval time.Duration
	// EntranceWait is how long hosts are kept out of a subsystem after a restart of the data plane
	// while some of its disks lack; 0 means 20 s.
	EntranceWait time.Duration
	// HostNQN is the NQN as which new paths to targets are attached that name none; "" leaves it to the
	// data plane.
	HostNQN string
	// ControllerIDs are those that new subsystems give to hosts; zero means all.
	ControllerIDs driver.ControllerIDs
	// Confirm returns an error when this process may have been replaced by another since it read the
	// store, so that what it knows may be old; nil means never. It is called after each look into
	// memory that an answer rests on, and must cost nothing as a rule.
	Confirm func(context.Context) error
	// NewUUID makes random UUIDs; nil means version 4.
	NewUUID func() string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Engine carries out what the API asks for. All methods are safe for concurrent use. Mutations and
// reads answer Unavailable until Run has read the store.
type Engine struct {
	cfg      Config
	registry *resource.Registry
	locks    *keyLock
	wake     chan struct{}  // has a token when a pass should run soon
	urgent   chan struct{}  // has a token when a pass should run at once
	replan   chan struct{}  // has a token when a resource is to be tried again some time
	doubt    chan struct{}  // has a token when something has come into limbo
	slow     sync.WaitGroup // goroutines whose steps wait for a remote peer; Run waits for them

	mu sync.RWMutex
	// guarded by mu:
	index    *index
	world    *world
	loaded   bool  // the store has been read
	storeErr error // why the store did not answer last time, nil when it did
	passErr  error // why the last pass could not be carried out, nil when it was
	// settledEpoch is the last epoch of the data plane in which a pass has put everything back;
	// settling is closed, and made anew, when it changes.
	settledEpoch uint64
	// epochSince is when the data plane was first looked at in this epoch.
	epochSince time.Time
	settling   chan struct{}
	healed     chan struct{} // closed, and made anew, when entries have come out of limbo
	soonest    time.Time     // the first retryAt that the queue has not been told of, zero for none
	drift      map[driver.Type]uint64
	repairs    map[resource.Name]Repairs
	foreign    foreign
	// rebuilding holds the resources whose objects are being made again with all that stands on them.
	rebuilding map[resource.Name]struct{}
}

// New returns an engine. It starts nothing; see [Engine.Run].
func New(cfg Config) (*Engine, error) {
	if cfg.Driver == nil || cfg.Store == nil || cfg.Log == nil || len(cfg.Kinds) == 0 {
		return nil, errdefs.New(errdefs.Internal, "engine: Driver, Store, Kinds and Log must be set")
	}
	registry, err := resource.NewRegistry(cfg.Kinds)
	if err != nil {
		return nil, err
	}
	if cfg.AuditInterval == 0 {
		cfg.AuditInterval = 30 * time.Second
	}
	if cfg.EntranceWait == 0 {
		cfg.EntranceWait = entranceWait
	}
	if cfg.ControllerIDs == (driver.ControllerIDs{}) {
		cfg.ControllerIDs = driver.AllControllerIDs()
	}
	if cfg.CheckID == nil {
		cfg.CheckID = resource.CheckNewID
	}
	if cfg.Confirm == nil {
		cfg.Confirm = func(context.Context) error { return nil }
	}
	if cfg.NewUUID == nil {
		cfg.NewUUID = uuid.NewString
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	e := &Engine{
		cfg:      cfg,
		registry: registry,
		wake:     make(chan struct{}, 1),
		urgent:   make(chan struct{}, 1),
		replan:   make(chan struct{}, 1),
		doubt:    make(chan struct{}, 1),
		index:    newIndex(registry),
		world:    newWorld(),
		settling: make(chan struct{}),
		healed:   make(chan struct{}),
		drift:    map[driver.Type]uint64{},
		repairs:  map[resource.Name]Repairs{},

		rebuilding: map[resource.Name]struct{}{},
	}
	e.index.objects = func(rec *resource.Record) ([]driver.Object, error) {
		return rec.Kind.Objects(rec, rec.Message, e.view())
	}
	e.index.reshaped = e.poke
	e.locks = newKeyLock(func() { e.poke(); signal(e.doubt) })
	return e, nil
}

// Kinds returns the kinds served. The caller leaves the slice as it is.
func (e *Engine) Kinds() []*resource.Kind { return e.registry.Kinds() }

// view shows index and world to a kind. Hold mu while it is used.
func (e *Engine) view() resource.View { return view{e.index, e.world} }

// settleWait bounds how long a mutation waits for the first pass after a restart: longer than a pass
// over ten thousand disks takes, shorter than clients' patience.
const settleWait = 10 * time.Second

// admitting returns nil when mutations can be carried out: the store has been read, the data plane is
// there, and what it had forgotten has been put back. It waits a little for the last of these.
func (e *Engine) admitting(ctx context.Context) error {
	timer := time.NewTimer(settleWait)
	defer timer.Stop()
	for {
		status := e.cfg.Driver.Status()
		e.mu.RLock()
		loaded, storeErr, settled, settling := e.loaded, e.storeErr, e.settledEpoch == status.Epoch, e.settling
		e.mu.RUnlock()
		switch {
		case !loaded:
			return notLoaded(storeErr)
		case !status.Up:
			return errdefs.Wrap(errdefs.Unavailable, orUnknown(status.Err), "the data plane is not reachable, nothing was changed")
		case settled:
			return nil
		}
		select {
		case <-settling:
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return errdefs.New(errdefs.Unavailable, "what the data plane held is still being put back, nothing was changed")
		}
	}
}

func notLoaded(cause error) error {
	return errdefs.Wrap(errdefs.Unavailable, orUnknown(cause), "the store has not been read yet")
}

func orUnknown(err error) error {
	if err == nil {
		return errdefs.New(errdefs.Unavailable, "it has not answered yet")
	}
	return err
}

// poke makes a pass run soon.
func (e *Engine) poke() { signal(e.wake) }

// signal puts a token into a channel of capacity one, unless it has one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
