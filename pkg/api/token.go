// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// A page token says where the page before it ended, and for which collection, so nothing need be kept
// and it stays good across restarts and when the item it names is deleted. As bytes, in unpadded
// base64url:
//
//	version (1 byte, 1) | length of collection (uvarint) | collection | last name | checksum (8 bytes)
//
// The checksum is the beginning of the SHA-256 of what stands before it. It finds accidents; a client
// that makes up a token gains nothing that it could not list anyway.
const (
	tokenVersion  = 1
	tokenChecksum = 8
	// maxToken bounds a token, in characters: two names of four ids of 128 characters fit.
	maxToken = 2048
)

// newToken returns the token for the page that follows the item called last.
func newToken(collection, last string) string {
	raw := binary.AppendUvarint([]byte{tokenVersion}, uint64(len(collection)))
	raw = append(raw, collection...)
	raw = append(raw, last...)
	sum := sha256.Sum256(raw)
	return base64.RawURLEncoding.EncodeToString(append(raw, sum[:tokenChecksum]...))
}

// parseToken returns the name after which the page begins. field is the request field of the token.
func parseToken(field, token, collection string) (last string, err error) {
	refused := errdefs.InvalidField(field, "stale or foreign page token: list %s from the beginning, without one", collection)
	if len(token) > maxToken {
		return "", refused
	}
	raw, decodeErr := base64.RawURLEncoding.Strict().DecodeString(token)
	if decodeErr != nil || len(raw) < 1+tokenChecksum || raw[0] != tokenVersion {
		return "", refused
	}
	body, sum := raw[:len(raw)-tokenChecksum], raw[len(raw)-tokenChecksum:]
	want := sha256.Sum256(body)
	if !bytes.Equal(sum, want[:tokenChecksum]) {
		return "", refused
	}
	length, n := binary.Uvarint(body[1:])
	rest := body[1+max(n, 0):]
	if n <= 0 || length > uint64(len(rest)) || string(rest[:length]) != collection {
		return "", refused
	}
	return string(rest[length:]), nil
}
