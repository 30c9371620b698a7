// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

// hostNQN returns the NQN as which this bridge's data plane attaches to targets where a request names
// none. SPDK's own is another after each of its restarts, so that no target could keep it in a list of
// hosts. Root is where the machine's files lie.
func (s *settings) hostNQN(root string) string {
	return cmp.Or(s.hostNQNGiven, "nqn.2014-08.org.nvmexpress:uuid:"+instanceUUID(root, s.instance))
}

// instanceUUID returns a UUID that is always the same for the same instance on the same machine, and no
// other's: a name-based one (RFC 9562, version 5) of the machine's own and the instance's name.
func instanceUUID(root, instance string) string {
	machine := ""
	for _, file := range []string{"/sys/class/dmi/id/product_uuid", "/etc/machine-id"} {
		// One that cannot be read, for want of rights or because there is none, leaves it to the next.
		text, err := os.ReadFile(filepath.Join(root, file)) //nolint:gosec // fixed names
		if machine = strings.ToLower(strings.TrimSpace(string(text))); err == nil && machine != "" {
			break
		}
	}
	if machine == "" {
		if host, err := os.Hostname(); err == nil {
			machine = host
		}
	}
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("opi-bridge:"+machine+":"+instance)).String()
}
