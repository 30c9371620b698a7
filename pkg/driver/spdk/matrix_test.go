// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"flag"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver/drivertest"
)

var whole = flag.Bool("versions.whole", false, "run the whole suite on every version of SPDK that can be played")

// TestVersions runs the suite on data planes that play older versions of SPDK: all of it with
// -versions.whole, else what tells most about the differences.
func TestVersions(t *testing.T) {
	t.Parallel()
	telling := []string{"Bdevs", "Subsystems", "Paths", "WriteCache", "BdevStats", "TLSKeys", "LimitsInUse"}
	for _, row := range []struct {
		version string
		change  func(*drivertest.Suite)
	}{
		// v24.01 has no keyring, and up to v24.05 an aio bdev cannot be given a uuid.
		{"24.01", func(s *drivertest.Suite) { s.NoAio, s.TLSKeys = true, false }},
		{"24.05", func(s *drivertest.Suite) { s.NoAio = true }},
		{"24.09", nil},
		{"25.01", nil},
		{"25.05", nil},
		{"25.09", nil},
		{"26.01", nil},
		{"26.05", nil},
	} {
		t.Run(row.version, func(t *testing.T) {
			t.Parallel()
			s := suite("--spdk-version", row.version)
			s.CacheMayCome = true // before v26.09
			if !*whole {
				s.Only = telling
			}
			if row.change != nil {
				row.change(&s)
			}
			drivertest.Run(t, s)
		})
	}
}
