// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"fmt"
	"strconv"

	bbolt "go.etcd.io/bbolt"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/internal/layout"
)

// prepare makes the file what the schema says: writes the format into a new one, migrates an older
// one, refuses a newer one. It also frees the lease, for the lock on the file proves that whoever
// held it is gone.
func (s *Store) prepare(schema store.Schema) error {
	var refused error // a refusal, which has its class already
	var id int
	err := s.db.Update(func(tx *bbolt.Tx) error {
		id = tx.ID()
		fresh := tx.Bucket([]byte(layout.Meta)) == nil
		if err := s.buckets(tx); err != nil {
			if errdefs.ClassOf(err) != "" {
				refused = err
			}
			return err
		}
		meta := tx.Bucket([]byte(layout.Meta))
		if fresh {
			if err := writeFormat(meta, schema); err != nil {
				return err
			}
		}
		format := string(meta.Get([]byte(layout.Format)))
		n, err := strconv.Atoi(format)
		if err != nil || n < 1 || n > schema.Format() {
			refused = layout.Refuse("store "+s.path, format, string(meta.Get([]byte(layout.WrittenBy))), schema)
			return refused
		}
		if n < schema.Format() {
			if refused = migrate(tx, schema, n); refused != nil {
				return refused
			}
		}
		return put(tx.Bucket([]byte(layout.Lease)), layout.Holder, "")
	})
	if err != nil && refused == nil {
		return s.writeError(id, err)
	}
	return refused
}

// buckets makes those that are missing, and refuses a file of something else.
func (s *Store) buckets(tx *bbolt.Tx) error {
	if name, _ := tx.Cursor().First(); name != nil && tx.Bucket([]byte(layout.Meta)) == nil {
		return errdefs.New(errdefs.FailedPrecondition,
			"store %s: the file holds something else (bucket %q): use another file", s.path, name)
	}
	for _, name := range []string{layout.Meta, layout.Documents, layout.Sealed, layout.Lease} {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	return nil
}

func migrate(tx *bbolt.Tx, schema store.Schema, from int) error {
	documents, err := readAll(tx)
	if err != nil {
		return errdefs.Wrap(errdefs.Internal, err, "migrate the store")
	}
	if documents, err = layout.Migrate(schema, from, documents); err != nil {
		return err
	}
	if err := replaceAll(tx, documents); err != nil {
		return errdefs.Wrap(errdefs.Internal, err, "migrate the store")
	}
	if err := writeFormat(tx.Bucket([]byte(layout.Meta)), schema); err != nil {
		return errdefs.Wrap(errdefs.Internal, err, "migrate the store")
	}
	return nil
}

// replaceAll puts documents in the place of all that are there, with the revisions they have.
func replaceAll(tx *bbolt.Tx, documents []store.Document) error {
	buckets := make(map[string]*bbolt.Bucket, 2)
	for _, name := range []string{layout.Documents, layout.Sealed} {
		if err := tx.DeleteBucket([]byte(name)); err != nil {
			return err
		}
		b, err := tx.CreateBucket([]byte(name))
		if err != nil {
			return err
		}
		buckets[name] = b
	}
	for _, d := range documents {
		if err := buckets[layout.Documents].Put([]byte(d.Name), layout.Encode(d.Revision, d.Body)); err != nil {
			return err
		}
		if d.Sealed == nil {
			continue
		}
		if err := buckets[layout.Sealed].Put([]byte(d.Name), d.Sealed); err != nil {
			return err
		}
	}
	return nil
}

func writeFormat(meta *bbolt.Bucket, schema store.Schema) error {
	if err := put(meta, layout.Format, strconv.Itoa(schema.Format())); err != nil {
		return err
	}
	return put(meta, layout.WrittenBy, schema.WrittenBy)
}

func put(b *bbolt.Bucket, key, value string) error { return b.Put([]byte(key), []byte(value)) }

// number reads an entry that holds a number; a missing one is 0.
func number(b *bbolt.Bucket, key string) (uint64, error) {
	text := b.Get([]byte(key))
	if text == nil {
		return 0, nil
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("entry %s of the store: %w", key, err)
	}
	return n, nil
}
