// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// NVMe Base Specification 2.0, section 4.5: an NQN is "nqn.", year and month, a reversed domain name
// and, after a colon, whatever its owner likes, in at most 223 bytes of UTF-8; or the form made from
// a UUID. SPDK wants at least 11 bytes and domain labels that start with a letter.
var (
	domainNQN = regexp.MustCompile(`^nqn\.[0-9]{4}-[0-9]{2}\.[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?)*:[^\x00]+$`)
	uuidNQN   = regexp.MustCompile(`^nqn\.2014-08\.org\.nvmexpress:uuid:[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
)

const (
	maxNQNBytes  = 223
	discoveryNQN = "nqn.2014-08.org.nvmexpress.discovery"
	uuidPrefix   = "nqn.2014-08.org.nvmexpress:uuid:"
)

// CheckNQN returns InvalidArgument for an NQN that SPDK would refuse.
func CheckNQN(nqn string) error {
	var v resource.Violations
	checkNQN(&v, "nqn", nqn)
	return v.Err()
}

// checkNQN notes an NQN that SPDK would refuse.
func checkNQN(v *resource.Violations, field, s string) {
	switch {
	case s == "":
		v.Check(false, field, "must be set to an NVMe qualified name, such as nqn.2024-01.com.example:disk-1")
	case len(s) > maxNQNBytes:
		v.Check(false, field, "has %d bytes, and an NQN at most %d", len(s), maxNQNBytes)
	case !utf8.ValidString(s):
		v.Check(false, field, "must be UTF-8")
	case strings.HasPrefix(s, uuidPrefix):
		v.Check(uuidNQN.MatchString(s), field, "%q must end in a UUID of 36 characters", s)
	default:
		v.Check(domainNQN.MatchString(s), field,
			"%q must have the form nqn.YYYY-MM.reversed.domain:name or %s<uuid>", s, uuidPrefix)
	}
}
