// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Bounds of an export, so that a store can take it in one step.
const (
	// MaxImageDocuments bounds the documents.
	MaxImageDocuments = 250_000
	// MaxImageBytes bounds the file.
	MaxImageBytes = 1 << 30
	maxLineBytes  = 3 * MaxDocumentBytes
)

// exportVersion is that of the form of the file, as opposed to the format of what is in it.
const exportVersion = 1

// Image is everything a store holds, as of one moment, apart from its lease.
type Image struct {
	// Format is that of the documents, WrittenBy the version of the build that wrote it.
	Format    int
	WrittenBy string
	// Revision is the highest that was given out.
	Revision uint64
	// Documents are in the order of their names, sealed secrets as they are.
	Documents []Document
}

// The lines of an export: one head, one line for each document, one tail. All are JSON.
type (
	imageHead struct {
		Export    int    `json:"opi_bridge_export"`
		Format    int    `json:"format"`
		WrittenBy string `json:"written_by"`
		Revision  uint64 `json:"revision"`
		Documents int    `json:"documents"`
	}
	imageLine struct {
		Name     string          `json:"name"`
		Revision uint64          `json:"revision"`
		Body     json.RawMessage `json:"body"`
		Sealed   []byte          `json:"sealed,omitempty"`
	}
	imageTail struct {
		SHA256 string `json:"sha256"` // of all bytes before the tail
	}
)

// Write writes the image as an export. Equal images give equal bytes.
func (m Image) Write(w io.Writer) error {
	sum := sha256.New()
	out := bufio.NewWriter(w)
	lines := json.NewEncoder(io.MultiWriter(out, sum))
	lines.SetEscapeHTML(false)
	err := lines.Encode(imageHead{exportVersion, m.Format, m.WrittenBy, m.Revision, len(m.Documents)})
	for _, d := range m.Documents {
		if err == nil {
			err = lines.Encode(imageLine{d.Name, d.Revision, d.Body, d.Sealed})
		}
	}
	if err == nil {
		err = json.NewEncoder(out).Encode(imageTail{hex.EncodeToString(sum.Sum(nil))})
	}
	return errors.Join(err, out.Flush())
}

// ReadImage reads an export and checks that it is whole. Errors are InvalidArgument, name the line, and
// repeat nothing of it.
func ReadImage(r io.Reader) (Image, error) {
	wrong := func(line int, format string, args ...any) (Image, error) {
		return Image{}, errdefs.New(errdefs.InvalidArgument, "export, line "+strconv.Itoa(line)+": "+format, args...)
	}
	lines := bufio.NewScanner(io.LimitReader(r, MaxImageBytes+1))
	lines.Buffer(nil, maxLineBytes)
	sum := sha256.New()
	var head imageHead
	if !lines.Scan() || strictly(lines.Bytes(), &head) != nil {
		return wrong(1, "this is no export of a store: expected {\"opi_bridge_export\":%d,…}", exportVersion)
	}
	switch {
	case head.Export != exportVersion:
		return wrong(1, "the export is of version %d, and this program reads version %d", head.Export, exportVersion)
	case head.Documents < 0 || head.Documents > MaxImageDocuments:
		return wrong(1, "%d documents, at most %d are possible", head.Documents, MaxImageDocuments)
	case head.Format < 1:
		return wrong(1, "format %d is none that was ever written", head.Format)
	}
	m := Image{Format: head.Format, WrittenBy: head.WrittenBy, Revision: head.Revision}
	revisions := map[uint64]bool{}
	last, read := "", int64(0)
	hash := func() { sum.Write(lines.Bytes()); sum.Write([]byte{'\n'}); read += int64(len(lines.Bytes())) + 1 }
	hash()
	for i := range head.Documents {
		var line imageLine
		switch {
		case !lines.Scan():
			return wrong(i+2, "the export ends after %d of %d documents (%v): it was cut off", i, head.Documents, lines.Err())
		case strictly(lines.Bytes(), &line) != nil || len(line.Body) == 0:
			return wrong(i+2, "this is no document")
		case line.Name <= last:
			return wrong(i+2, "document %.100q is there twice, or not in its place", line.Name)
		case line.Revision == 0 || line.Revision > head.Revision || revisions[line.Revision]:
			return wrong(i+2, "document %.100q: revision %d is there twice, or not from 1 to %d", line.Name, line.Revision, head.Revision)
		}
		hash()
		last, revisions[line.Revision] = line.Name, true
		m.Documents = append(m.Documents, Document{Name: line.Name, Revision: line.Revision, Body: bytes.Clone(line.Body), Sealed: line.Sealed})
	}
	end := head.Documents + 2
	var tail imageTail
	switch {
	case !lines.Scan() || strictly(lines.Bytes(), &tail) != nil:
		return wrong(end, "the checksum is missing: the export was cut off, or has more documents than it says")
	case tail.SHA256 != hex.EncodeToString(sum.Sum(nil)):
		return wrong(end, "the checksum does not fit: the export was damaged or changed")
	case lines.Scan() || lines.Err() != nil || read > MaxImageBytes:
		return wrong(end+1, "something follows the checksum, or the export is larger than %d bytes", MaxImageBytes)
	}
	return m, nil
}

// strictly decodes one JSON value and nothing else.
func strictly(line []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}
