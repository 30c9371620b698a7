// SPDX-License-Identifier: Apache-2.0

package dataplane

// What is said of keys that exist and cannot be used. NVMe/TCP wants TLS 1.3 with an external
// pre-shared key (NVMe/TCP transport specification, section 3.6). Go's crypto/tls takes such keys from
// its own tickets only, and no maintained library without C has both ends of it.
const (
	noTLS    = "a psk cannot be used: opi-dataplane has no TLS with pre-shared keys"
	noDHCHAP = "a dhchap key cannot be used: opi-dataplane has no DH-HMAC-CHAP"
)

// keyKnown says whether a key has been added by that name; on the turn.
func (s *Server) keyKnown(name *string) bool { return name != nil && s.keyring.find(*name) >= 0 }

// pskKnown says whether SPDK would find a psk, by the name of a key or, in older versions, by the path
// of a file; on the turn.
func (s *Server) pskKnown(psk string) bool {
	return s.manners.pskName && s.keyKnown(&psk) || s.manners.pskPath && checkKeyFile(psk) == 0
}
