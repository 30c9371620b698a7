// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"
)

// Hook is told about each call of a store after it ended: the operation ("load", "commit",
// "durability", "acquire", "renew", "release"), how long it took, and its error. It runs on the
// caller's goroutine.
type Hook func(op string, took time.Duration, err error)

// Observed returns a store that tells hook about each call to s, those of fenced views included.
// Closing it closes s.
func Observed(s LeasedStore, hook Hook) LeasedStore {
	return observedLeaser{observed{s, hook}, s}
}

type observed struct {
	Store
	hook Hook
}

type observedLeaser struct {
	observed
	leaser Leaser
}

func observe[T any](hook Hook, op string, call func() (T, error)) (T, error) {
	start := time.Now()
	out, err := call()
	hook(op, time.Since(start), err)
	return out, err
}

// Load is that of the store within.
func (o observed) Load(ctx context.Context) ([]Document, error) {
	return observe(o.hook, "load", func() ([]Document, error) { return o.Store.Load(ctx) })
}

// Commit is that of the store within.
func (o observed) Commit(ctx context.Context, writes []Write) ([]uint64, error) {
	return observe(o.hook, "commit", func() ([]uint64, error) { return o.Store.Commit(ctx, writes) })
}

// Durability is that of the store within.
func (o observed) Durability(ctx context.Context) (Durability, error) {
	return observe(o.hook, "durability", func() (Durability, error) { return o.Store.Durability(ctx) })
}

// Acquire is that of the store within.
func (o observedLeaser) Acquire(ctx context.Context, holder string, ttl time.Duration) (Lease, error) {
	return observe(o.hook, "acquire", func() (Lease, error) { return o.leaser.Acquire(ctx, holder, ttl) })
}

// Renew is that of the store within.
func (o observedLeaser) Renew(ctx context.Context, lease Lease) (bool, error) {
	return observe(o.hook, "renew", func() (bool, error) { return o.leaser.Renew(ctx, lease) })
}

// Release is that of the store within.
func (o observedLeaser) Release(ctx context.Context, lease Lease) error {
	_, err := observe(o.hook, "release", func() (struct{}, error) { return struct{}{}, o.leaser.Release(ctx, lease) })
	return err
}

// WithFence is that of the store within.
func (o observedLeaser) WithFence(token uint64) Store {
	return observed{o.leaser.WithFence(token), o.hook}
}
