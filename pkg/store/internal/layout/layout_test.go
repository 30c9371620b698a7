// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/store/internal/layout"
)

// FuzzDecode: nothing that a hand may have put into the store makes Decode panic, and what it takes
// can be written again and is the same then.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"revision":7,"body":{"a":1}}`, `{ "body": [], "revision": 1 }`, `{"revision":0,"body":1}`, `{"revision":1,"body":}`,
		`{"revision":1,"body":1,"body":2}`, `{"revision":18446744073709551616,"body":1}`, `{"revision":-1,"body":1}`, `{"revision":1}`, `nonsense`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		revision, body, err := layout.Decode(value)
		if err != nil {
			return
		}
		if revision == 0 || !json.Valid(body) {
			t.Fatalf("%q gave revision %d and body %q", value, revision, body)
		}
		again, same, err := layout.Decode(layout.Encode(revision, body))
		if err != nil || again != revision || !bytes.Equal(same, body) {
			t.Fatalf("%q written again gave %d, %q, %v", value, again, same, err)
		}
	})
}
