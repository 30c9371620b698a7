// SPDX-License-Identifier: Apache-2.0

// Package layout holds what both stores share of the stored schema: names of maps and entries, the
// envelope of a document, the checks of a commit and the running of migrations.
package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

// The maps, and the entries of meta and lease. Package store draws them.
const (
	Meta      = "meta"
	Documents = "documents"
	Sealed    = "sealed"
	Lease     = "lease"

	Format    = "format"
	WrittenBy = "written_by"
	Revision  = "revision"

	Holder  = "holder"
	Token   = "token"
	UntilMS = "until_ms"
)

const envelope = `{"revision":`

// Encode returns the stored value of a document.
func Encode(revision uint64, body []byte) []byte {
	b := make([]byte, 0, len(envelope)+len(`18446744073709551615,"body":}`)+len(body))
	b = append(b, envelope...)
	b = strconv.AppendUint(b, revision, 10)
	b = append(b, `,"body":`...)
	b = append(b, body...)
	return append(b, '}')
}

// Decode splits a stored value, which may also have been written by hand. The body is a copy.
func Decode(value []byte) (revision uint64, body []byte, err error) {
	if rest, ok := bytes.CutPrefix(value, []byte(envelope)); ok {
		if number, rest, ok := bytes.Cut(rest, []byte(`,"body":`)); ok && !bytes.HasPrefix(number, []byte{'0'}) && bytes.HasSuffix(rest, []byte{'}'}) {
			body = rest[:len(rest)-1]
			if revision, err = strconv.ParseUint(string(number), 10, 64); err == nil && json.Valid(body) {
				return revision, bytes.Clone(body), nil
			}
		}
	}
	var v struct {
		Revision uint64          `json:"revision"`
		Body     json.RawMessage `json:"body"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return 0, nil, fmt.Errorf("the value is not {\"revision\":…,\"body\":…}: %w", err)
	}
	if v.Revision == 0 || len(v.Body) == 0 {
		return 0, nil, errors.New(`the value is not {"revision":…,"body":…}`)
	}
	return v.Revision, v.Body, nil
}

// Check says what is wrong with the writes of a commit.
func Check(writes []store.Write) error {
	total := 0
	names := make(map[string]struct{}, len(writes))
	for _, w := range writes {
		if _, twice := names[w.Name]; twice {
			return errdefs.New(errdefs.Internal, "document %q comes twice in one commit", w.Name)
		}
		names[w.Name] = struct{}{}
		if w.Delete && w.Base == 0 {
			return errdefs.New(errdefs.Internal, "document %q: a deletion needs the revision it is based on", w.Name)
		}
		if w.Delete {
			w.Document = store.Document{Name: w.Name, Body: []byte("{}")}
		}
		if err := checkDocument(w.Document); err != nil {
			return err
		}
		total += len(w.Name) + len(w.Body) + len(w.Sealed)
	}
	if total > store.MaxCommitBytes {
		return errdefs.New(errdefs.ResourceExhausted, "commit of %d documents: %d bytes, at most %d are possible", len(writes), total, store.MaxCommitBytes)
	}
	return nil
}

func checkDocument(d store.Document) error {
	switch {
	case d.Name == "" || !utf8.ValidString(d.Name):
		return errdefs.New(errdefs.InvalidArgument, "document name %q: expected UTF-8 that is not empty", d.Name)
	case len(d.Name) > store.MaxNameBytes:
		return errdefs.New(errdefs.ResourceExhausted, "document name %.40q…: %d bytes, at most %d are possible", d.Name, len(d.Name), store.MaxNameBytes)
	case len(d.Body) > store.MaxDocumentBytes || len(d.Sealed) > store.MaxDocumentBytes:
		return errdefs.New(errdefs.ResourceExhausted, "document %q: %d bytes of body and %d of secrets, at most %d are possible each",
			d.Name, len(d.Body), len(d.Sealed), store.MaxDocumentBytes)
	case !json.Valid(d.Body):
		return errdefs.New(errdefs.Internal, "document %q: the body is not JSON", d.Name)
	}
	return nil
}

// Conflict is the error for a document that has another revision than a write is based on.
func Conflict(name string, base, have uint64) error {
	text := func(revision uint64) string {
		if revision == 0 {
			return "does not exist"
		}
		return "has revision " + strconv.FormatUint(revision, 10)
	}
	return errdefs.New(errdefs.Aborted, "document %q %s, and the change expects that it %s: read it again", name, text(have), text(base)).
		WithInfo("REVISION_CONFLICT", map[string]string{"document": name})
}

// Fenced is the error for a commit whose lease is gone.
func Fenced(fence uint64, token, holder string) error {
	if holder == "" {
		return errdefs.New(errdefs.FailedPrecondition, "the lease with token %d was released: nothing was written", fence).
			WithInfo("LEASE_LOST", nil)
	}
	return errdefs.New(errdefs.FailedPrecondition, "the lease with token %d was taken over by %q with token %s: nothing was written", fence, holder, token).
		WithInfo("LEASE_LOST", map[string]string{"holder": holder})
}

// Held is the error for a lease that another has.
func Held(holder string, remainingMS int64) error {
	// The time is not in the text, so that whoever waits sees that nothing is new.
	return errdefs.New(errdefs.FailedPrecondition, "the lease is held by %q", holder).
		WithInfo("LEASE_HELD", map[string]string{"holder": holder, "remaining_ms": strconv.FormatInt(remainingMS, 10)})
}

// Refuse is the error for a stored format that the schema cannot read: a newer one, or none at all.
func Refuse(where, format, writtenBy string, schema store.Schema) error {
	if n, err := strconv.Atoi(format); err != nil || n < 1 {
		return errdefs.New(errdefs.FailedPrecondition, "%s: the stored format is %q, which is none that was ever written", where, format)
	}
	return errdefs.New(errdefs.FailedPrecondition,
		"%s: the stored format is %s, written by version %q; this is version %q, which knows formats up to %d: run a version at least as new",
		where, format, writtenBy, schema.WrittenBy, schema.Format()).WithInfo("FORMAT_TOO_NEW", nil)
}

// Migrate runs the steps that lead from a format to that of the schema, and checks what they give.
func Migrate(schema store.Schema, from int, documents []store.Document) ([]store.Document, error) {
	for i, step := range schema.Migrations[from-1:] {
		var err error
		if documents, err = step(documents); err != nil {
			return nil, errdefs.Wrap(errdefs.Internal, err, "migrate the store from format %d to %d", from+i, from+i+1)
		}
		SortDocuments(documents)
	}
	for _, d := range documents {
		if d.Revision == 0 {
			return nil, errdefs.New(errdefs.Internal, "migrate the store: document %q came out without a revision", d.Name)
		}
		if err := checkDocument(d); err != nil {
			return nil, fmt.Errorf("migrate the store: %w", err)
		}
	}
	return documents, nil
}

// Fit returns the documents of an image in the format of the schema.
func Fit(where string, m store.Image, schema store.Schema) ([]store.Document, error) {
	if m.Format < 1 || m.Format > schema.Format() {
		return nil, Refuse("an image for "+where, strconv.Itoa(m.Format), m.WrittenBy, schema)
	}
	if len(m.Documents) > store.MaxImageDocuments {
		return nil, errdefs.New(errdefs.ResourceExhausted, "%s: %d documents, at most %d are possible", where, len(m.Documents), store.MaxImageDocuments)
	}
	return Migrate(schema, m.Format, m.Documents)
}

// Astray is the error for sealed secrets that belong to no document; nil for none.
func Astray(where string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	return errdefs.New(errdefs.Internal, "%s: sealed secrets of %d documents that do not exist, %.100q first: mend it by hand", where, len(names), slices.Min(names))
}

// InUse is the error for a store whose lease somebody has.
func InUse(where, holder string) error {
	return errdefs.New(errdefs.FailedPrecondition, "%s: the bridge %q uses it: end that first; nothing was written", where, holder)
}

// NotEmpty is the error for documents that would be lost.
func NotEmpty(where, count string) error {
	return errdefs.New(errdefs.FailedPrecondition, "%s: it holds %s documents already: say that they are to be replaced, or use another store; nothing was written", where, count)
}

// SortDocuments puts documents in the order of their names, by bytes.
func SortDocuments(documents []store.Document) {
	slices.SortFunc(documents, func(a, b store.Document) int { return strings.Compare(a.Name, b.Name) })
}
