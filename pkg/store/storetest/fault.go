// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

// Kind says what a fault does to a call.
type Kind string

// The kinds of faults.
const (
	// Fail: the call does nothing and gives Unavailable.
	Fail Kind = "fail"
	// LoseAnswer: the call is done, and gives OutcomeUnknown. Where that makes no sense (load,
	// durability) it gives Unavailable.
	LoseAnswer Kind = "lose-answer"
	// LoseRequest: the call is not done, and gives OutcomeUnknown, as if it might have been.
	LoseRequest Kind = "lose-request"
)

// Fault makes one call fail. It prints and parses as "commit#3:lose-answer".
type Fault struct {
	// Op is "load", "commit", "durability", "acquire", "renew", "release", or "any".
	Op string
	// N is which call of that operation fails, from 0 on.
	N int
	// Kind says what happens to it.
	Kind Kind
}

// String returns the form that ParseFault reads.
func (f Fault) String() string { return fmt.Sprintf("%s#%d:%s", f.Op, f.N, f.Kind) }

// ParseFault reads a fault.
func ParseFault(text string) (Fault, error) {
	op, rest, _ := strings.Cut(text, "#")
	number, kind, _ := strings.Cut(rest, ":")
	n, err := strconv.Atoi(number)
	f := Fault{Op: op, N: n, Kind: Kind(kind)}
	switch op {
	case "load", "commit", "durability", "acquire", "renew", "release", "any":
	default:
		return Fault{}, errdefs.New(errdefs.InvalidArgument, "fault %q: operation %q is unknown", text, op)
	}
	if err != nil || n < 0 || f.Kind != Fail && f.Kind != LoseAnswer && f.Kind != LoseRequest {
		return Fault{}, errdefs.New(errdefs.InvalidArgument, "fault %q: expected <operation>#<number>:<fail|lose-answer|lose-request>", text)
	}
	return f, nil
}

// Faulty is a store some of whose calls fail. Views with a fence count and fail with it.
type Faulty struct {
	store.LeasedStore
	plan *plan
}

// plan is what a Faulty and its views share.
type plan struct {
	// mu guards the fields below.
	mu     sync.Mutex
	faults []Fault
	calls  map[string]int
	fired  []Fault
	away   bool
}

// NewFaulty wraps a store.
func NewFaulty(s store.LeasedStore, faults ...Fault) *Faulty {
	return &Faulty{s, &plan{faults: faults, calls: make(map[string]int)}}
}

// SetAway makes every call fail with Unavailable, or ends that.
func (f *Faulty) SetAway(away bool) {
	f.plan.mu.Lock()
	defer f.plan.mu.Unlock()
	f.plan.away = away
}

// Calls returns how many calls of an operation, or of "any", there were.
func (f *Faulty) Calls(op string) int {
	f.plan.mu.Lock()
	defer f.plan.mu.Unlock()
	return f.plan.calls[op]
}

// Fired returns the faults that have happened, in their order.
func (f *Faulty) Fired() []Fault {
	f.plan.mu.Lock()
	defer f.plan.mu.Unlock()
	return append([]Fault(nil), f.plan.fired...)
}

// next counts a call and returns the fault that hits it.
func (p *plan) next(op string) (Fault, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	number := map[string]int{op: p.calls[op], "any": p.calls["any"]}
	p.calls[op]++
	p.calls["any"]++
	if p.away {
		return Fault{Op: op, N: number[op], Kind: Fail}, true
	}
	for _, f := range p.faults {
		if n, ok := number[f.Op]; ok && n == f.N {
			p.fired = append(p.fired, f)
			return f, true
		}
	}
	return Fault{}, false
}

// through makes a call, as far as the plan lets it. reads says that it changes nothing.
func through[T any](p *plan, op string, reads bool, call func() (T, error)) (T, error) {
	f, hit := p.next(op)
	if !hit {
		return call()
	}
	var none T
	if f.Kind == Fail || reads {
		return none, errdefs.New(errdefs.Unavailable, "store: fault %s", f)
	}
	if f.Kind == LoseAnswer {
		// One that was refused is refused: there is no answer to lose.
		if out, err := call(); err != nil {
			return out, err
		}
	}
	return none, errdefs.New(errdefs.OutcomeUnknown, "store: fault %s", f)
}

// Load is that of the store within, unless a fault hits it.
func (f *Faulty) Load(ctx context.Context) ([]store.Document, error) {
	return through(f.plan, "load", true, func() ([]store.Document, error) { return f.LeasedStore.Load(ctx) })
}

// Commit is that of the store within, unless a fault hits it.
func (f *Faulty) Commit(ctx context.Context, writes []store.Write) ([]uint64, error) {
	return through(f.plan, "commit", false, func() ([]uint64, error) { return f.LeasedStore.Commit(ctx, writes) })
}

// Durability is that of the store within, unless a fault hits it.
func (f *Faulty) Durability(ctx context.Context) (store.Durability, error) {
	return through(f.plan, "durability", true, func() (store.Durability, error) { return f.LeasedStore.Durability(ctx) })
}

// Acquire is that of the store within, unless a fault hits it.
func (f *Faulty) Acquire(ctx context.Context, holder string, ttl time.Duration) (store.Lease, error) {
	return through(f.plan, "acquire", false, func() (store.Lease, error) { return f.LeasedStore.Acquire(ctx, holder, ttl) })
}

// Renew is that of the store within, unless a fault hits it.
func (f *Faulty) Renew(ctx context.Context, lease store.Lease) (bool, error) {
	return through(f.plan, "renew", false, func() (bool, error) { return f.LeasedStore.Renew(ctx, lease) })
}

// Release is that of the store within, unless a fault hits it.
func (f *Faulty) Release(ctx context.Context, lease store.Lease) error {
	_, err := through(f.plan, "release", false, func() (struct{}, error) { return struct{}{}, f.LeasedStore.Release(ctx, lease) })
	return err
}

// WithFence is that of the store within, with the same faults.
func (f *Faulty) WithFence(token uint64) store.Store {
	return &Faulty{view{f.LeasedStore.WithFence(token), f.LeasedStore}, f.plan}
}

// view puts a fenced store and the leases behind it together.
type view struct {
	store.Store
	store.Leaser
}
