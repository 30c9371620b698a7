// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"strings"
	"testing"
)

// TestTailSince: what a process has printed since it was started again is found also when the oldest of
// its output has been forgotten.
func TestTailSince(t *testing.T) {
	var out tail
	write := func(text string) {
		if _, err := out.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	line := strings.Repeat("x", 1000) + "\n"
	for n := range 3 * maxOutputBytes / len(line) {
		before := out.written()
		if before != n*len(line) {
			t.Fatalf("%d bytes were written, want %d", before, n*len(line))
		}
		if got := out.since(before); got != "" {
			t.Fatalf("before line %d is printed: %q", n, got)
		}
		write(line)
		if got := out.since(before); got != line {
			t.Fatalf("line %d: %d bytes", n, len(got))
		}
	}
	before := out.written()
	write(strings.Repeat("y", 2*maxOutputBytes))
	if got := len(out.since(before)); got != maxOutputBytes {
		t.Errorf("%d bytes are kept, want %d", got, maxOutputBytes)
	}
}
