// SPDX-License-Identifier: Apache-2.0

package kinds

import "testing"

// What is set is within 5 % of what was asked for, and a limit is never none.
func TestBandwidthIsConvertedClosely(t *testing.T) {
	t.Parallel()
	for mb := int64(1); mb < 5000; mb++ {
		asked, set := mb*bytesPerMB, int64(mebibytes(mb))*bytesPerMiB
		if off := max(asked-set, set-asked); set == 0 || off*100 > asked*5 {
			t.Fatalf("%d MB/s became %d bytes/s", mb, set)
		}
	}
	if mebibytes(0) != 0 {
		t.Error("no limit became one")
	}
}
