// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

func image() store.Image {
	return store.Image{Format: 1, WrittenBy: "1.0", Revision: 9, Documents: []store.Document{
		{Name: "a", Revision: 7, Body: []byte(`{"x":"<&>"}`)}, {Name: "b", Revision: 2, Body: []byte(`1`), Sealed: []byte(`{"k":"v"}`)},
	}}
}

func export(t testing.TB, m store.Image) string {
	t.Helper()
	var out bytes.Buffer
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestImage(t *testing.T) {
	want := image()
	if got, err := store.ReadImage(strings.NewReader(export(t, want))); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	none := store.Image{Format: 1}
	if got, err := store.ReadImage(strings.NewReader(export(t, none))); err != nil || !reflect.DeepEqual(got, none) {
		t.Errorf("an empty store: %+v, %v", got, err)
	}
}

func TestDamagedImage(t *testing.T) {
	whole := export(t, image())
	lines := strings.SplitAfter(whole, "\n")
	swapped := image()
	swapped.Documents[0], swapped.Documents[1] = swapped.Documents[1], swapped.Documents[0]
	twice := image()
	twice.Documents[1].Revision = 7
	beyond := image()
	beyond.Revision = 6
	for name, row := range map[string]struct{ text, says string }{
		"nothing":              {"", "line 1: this is no export"},
		"something else":       {"hello\n", "line 1: this is no export"},
		"another version":      {strings.Replace(whole, `"opi_bridge_export":1`, `"opi_bridge_export":2`, 1), "version 2, and this program reads version 1"},
		"no format":            {strings.Replace(whole, `"format":1`, `"format":0`, 1), "format 0"},
		"too many":             {strings.Replace(whole, `"documents":2`, `"documents":900000000`, 1), "900000000 documents"},
		"a digit changed":      {strings.Replace(whole, `"body":1`, `"body":2`, 1), "checksum does not fit"},
		"a document is gone":   {lines[0] + lines[2] + lines[3], "line 3: this is no document"},
		"cut in a line":        {whole[:len(lines[0])+10], "line 2: this is no document"},
		"cut between lines":    {lines[0] + lines[1], "ends after 1 of 2"},
		"the checksum is gone": {lines[0] + lines[1] + lines[2], "line 4: the checksum is missing"},
		"something follows":    {whole + "{}\n", "something follows"},
		"out of order":         {export(t, swapped), "not in its place"},
		"one revision twice":   {export(t, twice), "revision 7"},
		"beyond the counter":   {export(t, beyond), "revision 7"},
	} {
		if m, err := store.ReadImage(strings.NewReader(row.text)); errdefs.ClassOf(err) != errdefs.InvalidArgument || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %+v, %v; want %q", name, m, err, row.says)
		}
	}
}

// FuzzReadImage: no file makes the reader panic, and what it takes can be written and read again.
func FuzzReadImage(f *testing.F) {
	whole := export(f, image())
	f.Add([]byte(whole))
	f.Add([]byte(whole[:len(whole)-5]))
	f.Add([]byte(`{"opi_bridge_export":1,"format":1,"written_by":"","revision":0,"documents":-1}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := store.ReadImage(bytes.NewReader(file))
		if err != nil {
			return
		}
		if again, err := store.ReadImage(strings.NewReader(export(t, m))); err != nil || len(again.Documents) != len(m.Documents) {
			t.Errorf("%+v: %v", again, err)
		}
	})
}
