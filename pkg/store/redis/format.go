// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"strconv"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/internal/layout"
)

// prepareTries bounds how often prepare begins anew because somebody wrote at the same time.
const prepareTries = 5

// prepare makes the store what the schema says: writes the format into an empty one, migrates an
// older one, refuses a newer one. Several may do it at the same time; one of them wins.
func (s *Store) prepare(ctx context.Context) error {
	for range prepareTries {
		seen, err := s.snapshot(ctx)
		if err != nil {
			return err
		}
		if seen.format == s.format {
			return nil
		}
		args := []any{seen.format, seen.revision, s.format, s.schema.WrittenBy}
		if seen.format != "" || len(seen.documents) > 0 {
			documents, err := s.migrated(seen)
			if err != nil {
				return err
			}
			args = append(args, documentArgs(documents)...)
		}
		answer, err := s.run(ctx, "write the format", s.scripts.format, s.keys[:3], args)
		if errdefs.ClassOf(err) == errdefs.OutcomeUnknown {
			// It is done wholly or not at all, and whoever asks next looks first.
			return errdefs.Wrap(errdefs.Unavailable, err, "the format may not be written yet")
		}
		if err != nil {
			return err
		}
		if answer[0] == "ok" {
			return nil
		}
	}
	return errdefs.New(errdefs.Unavailable, "%s: others keep writing while the format is to be written", s.where)
}

// migrated returns the documents in the format of the schema.
func (s *Store) migrated(seen snapshot) ([]store.Document, error) {
	from, err := strconv.Atoi(seen.format)
	if err != nil || from < 1 || from > s.schema.Format() {
		return nil, layout.Refuse(s.where, seen.format, seen.writtenBy, s.schema)
	}
	return layout.Migrate(s.schema, from, seen.documents)
}

func documentArgs(documents []store.Document) []any {
	args := make([]any, 0, 4*len(documents))
	for _, d := range documents {
		sealed := "0"
		if d.Sealed != nil {
			sealed = "1"
		}
		args = append(args, d.Name, layout.Encode(d.Revision, d.Body), sealed, d.Sealed)
	}
	return args
}
