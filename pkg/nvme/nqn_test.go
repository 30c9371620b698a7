// SPDX-License-Identifier: Apache-2.0

package nvme_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

func TestValidateNQN(t *testing.T) {
	base := "nqn.2016-06.io.spdk:"
	for _, nqn := range []string{
		base + "cnode0", base + "a b", base + "a_b/c", base + "ü:x", "nqn.2016-13.io.spdk:x", nvme.DiscoveryNQN,
		"nqn.2014-08.org.nvmexpress:uuid:11111111-1111-4111-8111-111111111111", base + strings.Repeat("n", 223-len(base)),
		"nqn.2016-06.i-o.s9:x",
	} {
		if err := nvme.ValidateNQN(nqn); err != nil {
			t.Errorf("%q: %v", nqn, err)
		}
	}
	for _, nqn := range []string{
		"", "foo", "nqn.2016-06.io.spdk", base, "nqn.2016-06.io..spdk:x", "NQN.2016-06.io.spdk:x", "nqn.2016-6.io.spdk:xx",
		"nqn.2014-08.org.nvmexpress:uuid:1234", "nqn.2014-08.org.nvmexpress:uuid:11111111-1111-4111-8111-11111111111g",
		base + strings.Repeat("n", 224-len(base)), "nqn.2016-06.9io:x", "nqn.2016-06.io-:x", "nqn.2016-06.-io:x", "nqn.2016-06.i_o:x",
		"nqn.2016-06." + strings.Repeat("a", 64) + ":x", base + "\xff", base + "a\x00b", "nqn.2016-06", "nqn.2016-06.",
	} {
		if err := nvme.ValidateNQN(nqn); !errors.Is(err, nvme.ErrNQN) {
			t.Errorf("%q: %v, want ErrNQN", nqn, err)
		}
	}
}

func FuzzValidateNQN(f *testing.F) {
	f.Add("nqn.2016-06.io.spdk:cnode0")
	f.Fuzz(func(t *testing.T, nqn string) {
		if err := nvme.ValidateNQN(nqn); err == nil && (len(nqn) < nvme.NQNMin || len(nqn) > nvme.NQNMax || !strings.HasPrefix(nqn, "nqn.")) {
			t.Errorf("%q is accepted", nqn)
		}
	})
}
