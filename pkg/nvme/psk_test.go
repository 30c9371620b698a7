// SPDX-License-Identifier: Apache-2.0

package nvme //nolint:testpackage // the retained key is inside

import (
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

const (
	psk256 = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:"
	psk384 = "NVMeTLSkey-1:02:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwP/w0S89ELi3W2LxIcLXVsDn8kXZQ==:"
)

// TestRetainedKnownAnswers: libnvme publishes digests of retained keys (they end its identities of
// version 1): an HMAC over both names.
func TestRetainedKnownAnswers(t *testing.T) {
	t.Parallel()
	const host, sub = "nqn.psk-test-host", "nqn.psk-test-subsys"
	for _, c := range []struct{ key, identity, digest string }{
		{psk256, "NVMe0R01 " + host + " " + sub, "iSbjiStwJ/1TrTvDlt2fjFmzvsytOJelidNnA+X5lEU="},
		{psk384, "NVMe0R02 " + host + " " + sub, "QhW2+Rp6RzHlNtCslyRxMnwJ11tKKhz8JCAQpQ+XUD8f9td1VeH5h53yz2wKJG1a"},
	} {
		p, err := ParsePSK([]byte(c.key))
		if err != nil {
			t.Fatal(err)
		}
		retained, err := p.expand(p.key, "HostNQN", host)
		if err != nil {
			t.Fatal(err)
		}
		mac := hmac.New(p.hash(), retained)
		mac.Write([]byte(host + " " + sub + " NVMe-over-Fabrics"))
		if got := base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != c.digest {
			t.Errorf("%s: digest %s, want %s", c.identity, got, c.digest)
		}
		if got := p.Identity(host, sub); got != c.identity {
			t.Errorf("identity %q, want %q", got, c.identity)
		}
		a, err := p.TLS(host, sub)
		if err != nil || len(a) != len(p.key) {
			t.Errorf("%d bytes: %v", len(a), err)
		}
		if b, _ := p.TLS(host, sub+"2"); hmac.Equal(a, b) {
			t.Error("two subsystems have one key")
		}
		if _, err := p.TLS(strings.Repeat("x", 223), strings.Repeat("y", 223)); !errors.Is(err, ErrPSK) {
			t.Errorf("long names: %v", err)
		}
	}
}

// TestPSKRefused: what is malformed is refused, and nothing tells the key.
func TestPSKRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "NVMeTLSkey-1:", "NVMeTLSkey-1:01:", psk256 + "\n", " " + psk256, psk256[:len(psk256)-1],
		strings.Replace(psk256, ":01:", ":02:", 1), strings.Replace(psk256, ":01:", ":03:", 1), strings.Replace(psk256, ":01:", ":11:", 1),
		strings.Replace(psk256, ":01:", ":0/:", 1), strings.Replace(psk256, "VRLb", "VRLc", 1), strings.Replace(psk256, "VRLb", "VR*b", 1),
		strings.Replace(psk384, ":02:", ":01:", 1), strings.Replace(psk256, "-1:", "-2:", 1), psk256 + strings.Repeat("A", 200) + ":",
	} {
		_, err := ParsePSK([]byte(text))
		if !errors.Is(err, ErrPSK) || strings.Contains(err.Error(), "tdWw") {
			t.Errorf("%q: %v", text, err)
		}
	}
	plain, err := ParsePSK([]byte(strings.Replace(psk256, ":01:", ":00:", 1)))
	if err != nil {
		t.Error(err)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", plain, plain, plain, plain); strings.Contains(s, "85") || strings.Contains(s, "55") {
		t.Errorf("a key prints: %s", s)
	}
}

// FuzzParsePSK: never a panic, and nothing but the form that was written.
func FuzzParsePSK(f *testing.F) {
	f.Add([]byte(psk256))
	f.Add([]byte(psk384))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := ParsePSK(text); err == nil && len(p.key) != 32 && len(p.key) != 48 {
			t.Fatalf("%d bytes", len(p.key))
		}
	})
}
