// SPDX-License-Identifier: Apache-2.0

package kinds_test

import (
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
)

// FuzzNQN holds the check of NQNs to what is certain of them.
func FuzzNQN(f *testing.F) {
	for _, seed := range []string{someNQN, "nqn.2014-08.org.nvmexpress:uuid:" + someUUID, "nqn.", strings.Repeat("n", 224), "nqn.2024-01.io:\xff"} {
		f.Add(seed)
	}
	k := all(f)["nvmeSubsystem"]
	f.Fuzz(func(t *testing.T, nqn string) {
		m := &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: nqn, SerialNumber: "s", ModelNumber: "m", MaxNamespaces: 1}}
		if k.Check(m) != nil {
			return
		}
		if len(nqn) < 11 || len(nqn) > 223 || !strings.HasPrefix(nqn, "nqn.") || !strings.Contains(nqn, ":") || strings.Contains(nqn, "\x00") {
			t.Errorf("%q was taken", nqn)
		}
	})
}

// FuzzPSK looks for keys that break the check, or that an error repeats.
func FuzzPSK(f *testing.F) {
	for _, seed := range []string{zeroPSK(32), zeroPSK(48), "NVMeTLSkey-1:01::", "NVMeTLSkey-1::01:", ":::", "NVMeTLSkey-1:02:AAAA:"} {
		f.Add([]byte(seed))
	}
	k := all(f)["nvmeRemoteController"]
	f.Fuzz(func(t *testing.T, psk []byte) {
		m := &pb.NvmeRemoteController{Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH, Tcp: &pb.TcpController{Psk: psk}}
		err := k.Check(m)
		if err == nil && len(psk) > 0 && !strings.HasPrefix(strings.TrimSpace(string(psk)), "NVMeTLSkey-1:0") {
			t.Errorf("%q was taken", psk)
		}
		// What an error says of the form of keys is in every one.
		const form = "NVMeTLSkey-1:01:<base64>: or NVMeTLSkey-1:02:<base64>:"
		if err != nil && len(psk) > 16 && strings.Contains(strings.ReplaceAll(err.Error(), form, ""), string(psk[13:])) {
			t.Errorf("the error repeats the key: %v", err)
		}
	})
}
