// SPDX-License-Identifier: Apache-2.0

package nvme

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of an NVMe Qualified Name in bytes (base 4.5). nqnField is the field it travels in.
const (
	NQNMin   = 11
	NQNMax   = 223
	nqnField = 256
)

// DiscoveryNQN is the well-known name of every discovery subsystem (base 3.1.2.3).
const DiscoveryNQN = "nqn.2014-08.org.nvmexpress.discovery"

const (
	nqnUUIDPrefix  = "nqn.2014-08.org.nvmexpress:uuid:"
	domainLabelMax = 63
)

// ValidateNQN checks a name as SPDK does: NQNMin to NQNMax bytes, and either the discovery name,
// "nqn.2014-08.org.nvmexpress:uuid:" with a uuid, or "nqn.YYYY-MM.<domain>:<anything in UTF-8>".
// Digits of the date are not checked for range. The error is an ErrNQN that names the fault.
func ValidateNQN(nqn string) error {
	switch {
	case len(nqn) < NQNMin:
		return fmt.Errorf("%w %q: %d bytes, need at least %d", ErrNQN, nqn, len(nqn), NQNMin)
	case len(nqn) > NQNMax:
		return fmt.Errorf("%w %.32q...: %d bytes, at most %d are allowed", ErrNQN, nqn, len(nqn), NQNMax)
	case strings.IndexByte(nqn, 0) >= 0:
		return fmt.Errorf("%w %q: it contains a zero byte", ErrNQN, nqn)
	case nqn == DiscoveryNQN:
		return nil
	}
	if id, ok := strings.CutPrefix(nqn, nqnUUIDPrefix); ok {
		if !isUUID(id) {
			return fmt.Errorf("%w %q: %q is not a uuid", ErrNQN, nqn, id)
		}
		return nil
	}
	if !hasDate(nqn) {
		return fmt.Errorf("%w %q: it must begin with nqn.YYYY-MM. and a domain", ErrNQN, nqn)
	}
	domain, rest, ok := strings.Cut(nqn[12:], ":")
	if !ok || rest == "" {
		return fmt.Errorf("%w %q: a colon and a name must follow the domain", ErrNQN, nqn)
	}
	for label := range strings.SplitSeq(domain, ".") {
		if !isDomainLabel(label) {
			return fmt.Errorf("%w %q: %q is not a domain label", ErrNQN, nqn, label)
		}
	}
	if !utf8.ValidString(rest) {
		return fmt.Errorf("%w %q: the name is not UTF-8", ErrNQN, nqn)
	}
	return nil
}

func hasDate(nqn string) bool {
	const shape = "nqn.dddd-dd."
	if len(nqn) < len(shape) {
		return false
	}
	for i := range len(shape) {
		if shape[i] == 'd' && i > 3 {
			if !isDigit(nqn[i]) {
				return false
			}
		} else if nqn[i] != shape[i] {
			return false
		}
	}
	return true
}

func isDomainLabel(s string) bool {
	if s == "" || len(s) > domainLabelMax || !isLetter(s[0]) {
		return false
	}
	for i := range len(s) {
		if !isLetter(s[i]) && !isDigit(s[i]) && s[i] != '-' {
			return false
		}
	}
	return s[len(s)-1] != '-'
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch i {
		case 8, 13, 18, 23:
			if s[i] != '-' {
				return false
			}
		default:
			if !isDigit(s[i]) && (s[i]|0x20 < 'a' || s[i]|0x20 > 'f') {
				return false
			}
		}
	}
	return true
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
