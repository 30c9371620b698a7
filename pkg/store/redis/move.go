// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"strconv"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/internal/layout"
)

// Dump returns everything the store holds, as of one moment, and changes nothing; a bridge may go on
// meanwhile. An instance that has no store is NotFound, one of a newer format FailedPrecondition.
func (s *Store) Dump(ctx context.Context) (store.Image, error) {
	seen, err := s.snapshot(ctx)
	if err != nil {
		return store.Image{}, err
	}
	if seen.format == "" && len(seen.documents) == 0 {
		return store.Image{}, errdefs.New(errdefs.NotFound, "%s: there is no store", s.where)
	}
	format, err := strconv.Atoi(seen.format)
	if err != nil || format < 1 || format > s.schema.Format() {
		return store.Image{}, layout.Refuse(s.where, seen.format, seen.writtenBy, s.schema)
	}
	if len(seen.astray) > 0 {
		return store.Image{}, layout.Astray(s.where, seen.astray)
	}
	m := store.Image{Format: format, WrittenBy: seen.writtenBy, Documents: seen.documents}
	if seen.revision != "" {
		if m.Revision, err = strconv.ParseUint(seen.revision, 10, 64); err != nil {
			return store.Image{}, errdefs.Wrap(errdefs.Internal, err, "%s: the revision counter", s.where)
		}
	}
	return m, nil
}

// Restore puts an image in the place of what the store holds, migrated where needed: all of it, or
// nothing. A bridge that has the lease, documents that are there already unless replace is set, and an
// image of a newer format are FailedPrecondition.
func (s *Store) Restore(ctx context.Context, m store.Image, replace bool) error {
	documents, err := layout.Fit(s.where, m, s.schema)
	if err != nil {
		return err
	}
	flag := "0"
	if replace {
		flag = "1"
	}
	args := append([]any{flag, s.format, s.schema.WrittenBy, strconv.FormatUint(m.Revision, 10)}, documentArgs(documents)...)
	answer, err := s.run(ctx, "import", s.scripts.restore, s.keys, args)
	switch {
	case err != nil:
		return err
	case answer[0] == "held" && len(answer) == 2:
		return layout.InUse(s.where, answer[1])
	case answer[0] == "full" && len(answer) == 2:
		return layout.NotEmpty(s.where, answer[1])
	}
	return nil
}
