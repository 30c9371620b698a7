// SPDX-License-Identifier: Apache-2.0

// Package bolt keeps a store in one bbolt file, for a machine without a Redis. One process has the
// file at a time. Every commit is on disk before it is answered; commits that come at the same time
// share one write to disk.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/internal/layout"
)

// Scheme is that of the URLs of this store: bolt:///path/of/file.db.
const Scheme = "bolt"

// Config says which file to use.
type Config struct {
	// URL is bolt:///absolute/path or bolt:relative/path. Required. Directories that are missing are
	// made with mode 0700, the file with mode 0600.
	URL string
	// Schema is the format of this build.
	Schema store.Schema
	// LockTimeout is how long to wait for another process to let go of the file. 0 means 2 s.
	LockTimeout time.Duration
	// MaxBytes bounds the file; a commit beyond it gives ResourceExhausted. 0 means no bound.
	MaxBytes int
}

// Store is a store in a file. It starts no goroutine.
type Store struct {
	db   *bbolt.DB
	path string
	// turn is held by the goroutine that writes; it writes for all who wait.
	turn chan struct{}

	// mu guards queue.
	mu    sync.Mutex
	queue []*request

	// leaseMu guards leaseUntil and askedUntil, and is held while the lease is asked for or changed.
	leaseMu sync.Mutex
	// leaseUntil is when the lease runs out.
	leaseUntil time.Time
	// askedUntil is how long a renewal tells that another has asked for the lease.
	askedUntil time.Time
}

var _ store.LeasedStore = (*Store)(nil)

// New opens the file, and makes or migrates it where needed. A file that another process has is
// FailedPrecondition, as is one of a newer format.
func New(cfg Config) (*Store, error) {
	path, err := pathOf(cfg.URL)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, errdefs.Wrap(errdefs.Unavailable, err, "open store %s", path)
	}
	db, err := openFile(path, cfg.LockTimeout, &bbolt.Options{FreelistType: bbolt.FreelistMapType, MaxSize: cfg.MaxBytes})
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, path: path, turn: make(chan struct{}, 1)}
	if err := s.prepare(cfg.Schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, errors.Join(errdefs.Wrap(errdefs.Unavailable, err, "open store %s", path), db.Close())
	}
	return s, nil
}

// syncDir makes a file that was just made in the directory survive a crash of the machine.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the directory of the operator's path
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func pathOf(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != Scheme || u.Host != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", errdefs.New(errdefs.InvalidArgument, "store %q: expected bolt:///path/of/file.db", raw)
	}
	path := u.Path
	if path == "" {
		if path, err = url.PathUnescape(u.Opaque); err != nil || path == "" {
			return "", errdefs.New(errdefs.InvalidArgument, "store %q: expected bolt:///path/of/file.db", raw)
		}
	}
	return filepath.Clean(path), nil
}

// Load is that of store.Store.
func (s *Store) Load(ctx context.Context) ([]store.Document, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	var out []store.Document
	err := s.db.View(func(tx *bbolt.Tx) (err error) {
		out, err = readAll(tx)
		return err
	})
	if err != nil {
		return nil, s.readError(err)
	}
	return out, nil
}

// readAll returns all documents; keys of a bucket are in the order of their bytes.
func readAll(tx *bbolt.Tx) ([]store.Document, error) {
	docs, sealed := tx.Bucket([]byte(layout.Documents)), tx.Bucket([]byte(layout.Sealed))
	var out []store.Document
	err := docs.ForEach(func(name, value []byte) error {
		revision, body, err := layout.Decode(value)
		if err != nil {
			return fmt.Errorf("document %q: %w", name, err)
		}
		d := store.Document{Name: string(name), Revision: revision, Body: body}
		if secrets := sealed.Get(name); secrets != nil {
			d.Sealed = append([]byte{}, secrets...)
		}
		out = append(out, d)
		return nil
	})
	return out, err
}

// Durability is that of store.Store: each commit is synced.
func (s *Store) Durability(ctx context.Context) (store.Durability, error) {
	if err := ended(ctx); err != nil {
		return store.Durability{}, err
	}
	return store.Durability{
		OK: true, Level: store.LevelSynced,
		Explanation: "each commit is synced to " + s.path + " before it is answered",
	}, nil
}

// Close waits for calls that are under way and lets go of the file.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return errdefs.Wrap(errdefs.Internal, err, "close store %s", s.path)
	}
	return nil
}

// ended returns an error when the caller has given up already.
func ended(ctx context.Context) error {
	switch err := ctx.Err(); {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return errdefs.Wrap(errdefs.DeadlineExceeded, context.Cause(ctx), "store: nothing was done")
	default:
		return errdefs.Wrap(errdefs.Canceled, context.Cause(ctx), "store: nothing was done")
	}
}
