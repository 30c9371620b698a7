// SPDX-License-Identifier: Apache-2.0

package tlspsk //nolint:testpackage // the schedule is inside

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func same(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if hex.EncodeToString(got) != want {
		t.Errorf("%s is %x, want %s", what, got, want)
	}
}

// TestScheduleKnownAnswers: a test case of NIST's ACVP server for the key schedule with a pre-shared
// key and a Diffie-Hellman exchange (TLS-v1.3-KDF-RFC8446). Its "messages" are random bytes.
func TestScheduleKnownAnswers(t *testing.T) {
	t.Parallel()
	s := AES128GCMSHA256
	transcript := sha256.New()
	early := s.earlySecret(unhex(t, "56288b726c73829f7a3e47b103837c8139acf552e7530c7a710b35ed41191698"))
	transcript.Write(unhex(t, "e9137679e582ba7c1db41cf725f86c6d09c8c05f297bad9a65b552eaf524fde4"))
	same(t, "client early traffic secret", s.derive(early, "c e traffic", transcript.Sum(nil)),
		"3272189698c3594d18f58efa3f12b638a249515099be7a2fa9836babe74f0111")
	secret := s.handshakeSecret(early, unhex(t, "effe9ec26aa29fd750dfa6a10b944d74071595b27ee88887d5e11c84590b5cc3"))
	transcript.Write(unhex(t, "23eccfd030790748c8f8d8a656fd98d717f1b62af3712f97211d2070b499f98a"))
	same(t, "client handshake traffic secret", s.derive(secret, "c hs traffic", transcript.Sum(nil)),
		"b32306c3ce9932c460a1fe6c0f060593974842036b96fa45049b7352e71c2ad2")
	same(t, "server handshake traffic secret", s.derive(secret, "s hs traffic", transcript.Sum(nil)),
		"22787f8ca269d34bc549ac8ba19f2040938a3aa370d7cc9d60f720882b88d01b")
	secret = s.masterSecret(secret)
	transcript.Write(unhex(t, "c750eda6696cd101b142bd79e00e6ac8c5f2c0abc78dd64f4d991326659e9299"))
	same(t, "client application traffic secret", s.derive(secret, "c ap traffic", transcript.Sum(nil)),
		"47d7ea08397b5871154b0fe85584bcc30a87c69e84d69b56007c5b21f76493ba")
	same(t, "server application traffic secret", s.derive(secret, "s ap traffic", transcript.Sum(nil)),
		"efbdb0c873c0480da57307083839a8984be25b9a8545e4fca029940fe2800565")
}

// TestTrafficKeysKnownAnswers: RFC 8448, section 3, the server's handshake keys.
func TestTrafficKeysKnownAnswers(t *testing.T) {
	t.Parallel()
	key, iv := AES128GCMSHA256.traffic(unhex(t, "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38"))
	same(t, "key", key, "3fce516009c21727d0f2e4e86ee403bc")
	same(t, "iv", iv, "5d313eb2671276ee13000b30")
}

// TestEarlySecretKnownAnswers: RFC 8448, section 3: what the schedule begins with without a key.
func TestEarlySecretKnownAnswers(t *testing.T) {
	t.Parallel()
	s := AES128GCMSHA256
	early := s.earlySecret(nil)
	same(t, "early secret", early, "33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a")
	same(t, "derived", s.derive(early, "derived", s.nothing()), "6f2615a108c702c5678f54fc9dbab69716c076189c48250cebeac3576c3611ba")
	secret := s.handshakeSecret(early, unhex(t, "8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d"))
	same(t, "handshake secret", secret, "1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac")
	same(t, "master secret", s.masterSecret(secret), "18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919")
}
