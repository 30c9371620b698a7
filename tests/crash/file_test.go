// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/bolt"
)

// copied reads the records out of a copy of a file that a bridge has open.
type copied struct {
	store.Store
	path, copy string
}

// Load is that of store.Store.
func (c copied) Load(ctx context.Context) ([]store.Document, error) {
	data, err := os.ReadFile(c.path)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.copy, data, 0o600); err != nil {
		return nil, err
	}
	s, err := bolt.New(bolt.Config{URL: "bolt://" + c.copy})
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	return s.Load(ctx)
}

func brokenDisk() fault {
	return fault{name: "disk broken", do: func(r *rig) { r.disk.fail(unix.EIO) }, heal: func(r *rig) { r.disk.fail(0) }}
}

func fullDisk() fault {
	return fault{name: "disk full", do: func(r *rig) { r.disk.fail(unix.ENOSPC) }, heal: func(r *rig) { r.disk.fail(0) }}
}

// TestFile breaks mutations at every message and at every write of a store in a file.
func TestFile(t *testing.T) {
	shared := newStorage(t)
	for _, s := range subjects() {
		t.Run(s.label(), func(t *testing.T) {
			t.Parallel()
			newFileRig(t, shared, filepath.Join(t.TempDir(), "state.db")).subject(t, s, faultsOnFile())
		})
	}
}
