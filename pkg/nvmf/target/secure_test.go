// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/tlspsk"
)

// TestKeyNamesTheHost: a key is that of one host for one subsystem, whatever Connect says.
func TestKeyNamesTheHost(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	psk, err := nvme.ParsePSK([]byte("NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:"))
	must(t, err)
	at := target.Address{TRADDR: "127.0.0.1", TRSVCID: "0"}
	for _, nqn := range []string{subNQN, subNQN + "2"} {
		must(t, tgt.CreateSubsystem(target.SubsystemConfig{NQN: nqn, SerialNumber: "SN1"}))
		at, err = tgt.AddListener(t.Context(), nqn, target.ListenerConfig{Address: at, Secure: true})
		must(t, err)
		for _, host := range []string{hostNQN, otherNQN} {
			must(t, tgt.AddHost(nqn, target.HostConfig{NQN: host, PSK: &psk}))
		}
	}
	key, err := psk.TLS(hostNQN, subNQN)
	must(t, err)
	for _, c := range []struct {
		host, sub string
		want      nvme.Status
	}{
		{hostNQN, subNQN, nvme.Success},
		{otherNQN, subNQN, nvme.StatusConnectInvalidHost | nvme.DNR},
		{hostNQN, subNQN + "2", nvme.StatusConnectInvalidHost | nvme.DNR},
		{hostNQN, nvme.DiscoveryNQN, nvme.StatusConnectInvalidHost | nvme.DNR},
	} {
		conn, err := tlspsk.Client(dialRaw(t, at), tlspsk.PSK{Identity: psk.Identity(hostNQN, subNQN), Suite: tlspsk.AES128GCMSHA256, Key: key})
		must(t, err)
		if got := dialOver(t, conn, options{host: c.host, sub: c.sub}).connect(0, nvme.CNTLIDDynamic); got.status != c.want {
			t.Errorf("as %s to %s: %v, want %v", c.host, c.sub, got.status, c.want)
		}
	}
	// A key that was replaced while a host shook hands is of no use any more.
	conn, err := tlspsk.Client(dialRaw(t, at), tlspsk.PSK{Identity: psk.Identity(hostNQN, subNQN), Suite: tlspsk.AES128GCMSHA256, Key: key})
	must(t, err)
	late := dialOver(t, conn, options{})
	must(t, tgt.RemoveHost(t.Context(), subNQN, hostNQN))
	must(t, tgt.AddHost(subNQN, target.HostConfig{NQN: hostNQN}))
	if got := late.connect(0, nvme.CNTLIDDynamic); got.status.OK() {
		t.Error("a host got in with a key that had been taken away")
	}
}
