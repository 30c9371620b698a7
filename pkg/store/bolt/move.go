// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	bbolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/internal/layout"
)

// Dump returns everything a file holds and changes nothing. A file that is not there, or holds nothing
// yet, is NotFound; one that a bridge has, or of a newer format, FailedPrecondition.
func Dump(cfg Config) (store.Image, error) {
	path, err := pathOf(cfg.URL)
	if err != nil {
		return store.Image{}, err
	}
	where := "store " + path
	db, err := openFile(path, cfg.LockTimeout, &bbolt.Options{ReadOnly: true})
	if errors.Is(err, fs.ErrNotExist) {
		return store.Image{}, errdefs.Wrap(errdefs.NotFound, err, "%s", where)
	}
	if err != nil {
		return store.Image{}, err
	}
	var m store.Image
	err = db.View(func(tx *bbolt.Tx) (err error) {
		m, err = readImage(tx, where, cfg.Schema)
		return err
	})
	if err != nil && errdefs.ClassOf(err) == "" {
		err = errdefs.Wrap(errdefs.Internal, err, "%s", where)
	}
	return m, errors.Join(err, db.Close())
}

func readImage(tx *bbolt.Tx, where string, schema store.Schema) (store.Image, error) {
	meta := tx.Bucket([]byte(layout.Meta))
	if meta == nil {
		return store.Image{}, errdefs.New(errdefs.NotFound, "%s: there is no store", where)
	}
	m := store.Image{WrittenBy: string(meta.Get([]byte(layout.WrittenBy)))}
	text := string(meta.Get([]byte(layout.Format)))
	var err error
	if m.Format, err = strconv.Atoi(text); err != nil || m.Format < 1 || m.Format > schema.Format() {
		return store.Image{}, layout.Refuse(where, text, m.WrittenBy, schema)
	}
	if m.Revision, err = number(meta, layout.Revision); err != nil {
		return store.Image{}, err
	}
	var astray []string
	documents, sealed := tx.Bucket([]byte(layout.Documents)), tx.Bucket([]byte(layout.Sealed))
	err = sealed.ForEach(func(name, _ []byte) error {
		if documents.Get(name) == nil {
			astray = append(astray, string(name))
		}
		return nil
	})
	if err != nil || len(astray) > 0 {
		return store.Image{}, errors.Join(err, layout.Astray(where, astray))
	}
	m.Documents, err = readAll(tx)
	return m, err
}

// Restore puts an image in the place of what a file holds, or makes the file, in one transaction: all of
// it, or nothing. A file that a bridge has, documents that are there already unless replace is set, and
// an image of a newer format are FailedPrecondition.
func Restore(cfg Config, m store.Image, replace bool) error {
	path, err := pathOf(cfg.URL)
	if err != nil {
		return err
	}
	where := "store " + path
	documents, err := layout.Fit(where, m, cfg.Schema)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return errdefs.Wrap(errdefs.Unavailable, err, "%s", where)
	}
	db, err := openFile(path, cfg.LockTimeout, &bbolt.Options{FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	s := &Store{db: db, path: path}
	var id int
	var refused error // a refusal, which has its class already
	err = db.Update(func(tx *bbolt.Tx) error {
		id = tx.ID()
		if refused = s.replaceable(tx, replace); refused != nil {
			return refused
		}
		if err := replaceAll(tx, documents); err != nil {
			return err
		}
		meta := tx.Bucket([]byte(layout.Meta))
		have, err := number(meta, layout.Revision)
		if err != nil {
			return err
		}
		if err := put(meta, layout.Revision, strconv.FormatUint(max(have, m.Revision), 10)); err != nil {
			return err
		}
		return writeFormat(meta, cfg.Schema)
	})
	if err != nil && refused == nil {
		refused = s.writeError(id, err)
	}
	if refused == nil {
		refused = syncDir(filepath.Dir(path))
	}
	return errors.Join(refused, db.Close())
}

// replaceable makes the buckets that are missing, and refuses a file whose content must stay.
func (s *Store) replaceable(tx *bbolt.Tx, replace bool) error {
	if err := s.buckets(tx); err != nil {
		return err
	}
	if n := tx.Bucket([]byte(layout.Documents)).Stats().KeyN; n > 0 && !replace {
		return layout.NotEmpty("store "+s.path, strconv.Itoa(n))
	}
	return nil
}

// openFile opens a file, or says who has it.
func openFile(path string, wait time.Duration, options *bbolt.Options) (*bbolt.DB, error) {
	if wait <= 0 {
		wait = 2 * time.Second
	}
	options.Timeout = wait
	db, err := bbolt.Open(path, 0o600, options)
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, errdefs.New(errdefs.FailedPrecondition,
			"open store %s: another process%s has the file, and a file serves one at a time: end that one, or use another file", path, owner(path))
	case err != nil:
		return nil, errdefs.Wrap(errdefs.Unavailable, err, "open store %s", path)
	}
	return db, nil
}
