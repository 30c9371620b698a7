// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// step is one line of a recording; testdata/README.md says what the members mean.
type step struct {
	Step     string          `json:"step"`
	Target   string          `json:"target"`
	Request  json.RawMessage `json:"request"`
	Response json.RawMessage `json:"response"`
	TimeoutS float64         `json:"timeout_s"`
	Event    string          `json:"event"`

	Send           [][]any `json:"send"`
	Recv           [][]any `json:"recv"`
	HalfClose      bool    `json:"half_close"`
	ClosedByServer []any   `json:"closed_by_server"`
}

// method returns the method of the request, or "".
func (s *step) method() string {
	var r struct {
		Method string `json:"method"`
	}
	if len(s.Request) == 0 || json.Unmarshal(s.Request, &r) != nil {
		return ""
	}
	return r.Method
}

// recordings lists the files in testdata.
func recordings(tb testing.TB) []string {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.jsonl"))
	if err != nil || len(files) == 0 {
		tb.Fatalf("no recordings in testdata (%v)", err)
	}
	return files
}

func load(tb testing.TB, file string) []step {
	tb.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	var steps []step
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var s step
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			tb.Fatalf("%s, line %d: %v", file, len(steps)+1, err)
		}
		steps = append(steps, s)
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return steps
}
