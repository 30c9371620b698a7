// SPDX-License-Identifier: Apache-2.0

// Package tlspsk is TLS 1.3 (RFC 8446) with external pre-shared keys, and nothing else of TLS: what
// NVMe/TCP asks for (NVMe TCP Transport Specification, section 3.6). The standard library takes
// pre-shared keys from its own session tickets only, and no maintained Go library has both ends.
//
// What it has: psk_dhe_ke with X25519 and P-256; TLS_AES_128_GCM_SHA256 and TLS_AES_256_GCM_SHA384, of
// which a key fixes one; key updates, alerts and close_notify. What it refuses, on both ends: every
// other version, certificates, psk_ke without a Diffie-Hellman exchange, 0-RTT, HelloRetryRequest
// (which a peer that offers X25519 or P-256 never needs), renegotiation and post-handshake
// authentication. It makes no session tickets and throws away those it gets.
//
// Trust: a peer is trusted with nothing until its Finished has been checked. What it sends is bounded
// before memory is taken: records to 16 KiB of text, handshake messages to 16 KiB, and the number of
// records in a row that bring no data. Secrets are compared in constant time. An unknown identity and a
// wrong key are answered alike, so that nobody learns which identities exist. No error and no alert
// tells a key.
//
// It protects the traffic of opi-dataplane, which is for development, demonstration and tests; nothing
// else uses it.
package tlspsk
