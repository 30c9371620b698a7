// SPDX-License-Identifier: Apache-2.0

package dataplane

import "sync"

// turns runs work in a later turn than the one in which it was asked for. SPDK carries out all
// requests that it reads in one poll of its socket, and what is not done on the spot goes on after
// that poll: requests written together see the state before any of it. Work with the same key runs
// one after the other in the order of asking; other work runs side by side.
type turns struct {
	wg sync.WaitGroup

	mu sync.Mutex
	// waiting is the work of the turn that has not begun; guarded by mu.
	waiting []work
	// chains holds what is queued behind running work of the same key; guarded by mu.
	chains map[string][]func()
	// closed refuses further work; guarded by mu.
	closed bool
}

type work struct {
	key string
	run func()
}

func newTurns() *turns { return &turns{chains: make(map[string][]func())} }

// later asks for run to be called in a later turn; it is itself called on a turn. An empty key is
// equal to no other.
// It reports false when the turns are closed; run will not be called then.
func (t *turns) later(key string, run func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.wg.Add(1)
	t.waiting = append(t.waiting, work{key: key, run: run})
	return true
}

// soon is later for callers that are not on a turn: the work begins at once, or behind other work of
// its key.
func (t *turns) soon(key string, run func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.wg.Add(1)
	t.start(work{key: key, run: run})
	return true
}

// turn starts everything that waits. It is called at the end of each turn.
func (t *turns) turn() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.waiting {
		t.start(w)
	}
	t.waiting = nil
}

// start lets work begin. The caller holds mu.
func (t *turns) start(w work) {
	if w.key == "" {
		go func() {
			defer t.wg.Done()
			w.run()
		}()
		return
	}
	chain, running := t.chains[w.key]
	t.chains[w.key] = append(chain, w.run)
	if !running {
		go t.follow(w.key)
	}
}

// follow runs the work of one key until there is none left.
func (t *turns) follow(key string) {
	for {
		t.mu.Lock()
		chain := t.chains[key]
		if len(chain) == 0 {
			delete(t.chains, key)
			t.mu.Unlock()
			return
		}
		run := chain[0]
		t.chains[key] = chain[1:]
		t.mu.Unlock()
		run()
		t.wg.Done()
	}
}

// close waits until all work has been done, and takes no more.
func (t *turns) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.wg.Wait()
}
