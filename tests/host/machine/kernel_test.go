// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// TestKernelIsTakenOutOfItsImage makes images as the releases of Debian compress them.
func TestKernelIsTakenOutOfItsImage(t *testing.T) {
	kernel := append([]byte("\x7fELF"), bytes.Repeat([]byte("kernel "), 1<<12)...)
	for program, args := range map[string][]string{"gzip": nil, "xz": {"--check=crc32"}, "lz4": {"-l"}, "zstd": nil} {
		pack := exec.CommandContext(t.Context(), program, append(args, "-c")...)
		pack.Stdin = bytes.NewReader(kernel)
		payload, err := pack.Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", program, err, remedy)
		}
		payload = binary.LittleEndian.AppendUint32(payload, uint32(len(kernel)))
		const setup, gap = 3, 100
		image := make([]byte, (setup+1)*512+gap)
		image[setupSectors] = setup
		binary.LittleEndian.PutUint32(image[payloadOffset:], gap)
		binary.LittleEndian.PutUint32(image[payloadLength:], uint32(len(payload)))
		path := filepath.Join(t.TempDir(), "vmlinuz")
		if err := os.WriteFile(path, slices.Concat(image, payload), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := uncompressed(t.Context(), path); err != nil || !bytes.Equal(got, kernel) {
			t.Errorf("%s: %d bytes instead of %d, %v", program, len(got), len(kernel), err)
		}
	}
}

func TestImagesThatAreNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vmlinuz")
	for _, image := range [][]byte{nil, make([]byte, headerEnd), bytes.Repeat([]byte{0xff}, 4096), make([]byte, 4096)} {
		if err := os.WriteFile(path, image, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := uncompressed(t.Context(), path); err == nil {
			t.Errorf("%d bytes are taken for a kernel", len(image))
		}
	}
}

func TestModulesComeAfterWhatTheyNeed(t *testing.T) {
	s, err := unpack(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	order, err := s.modules.closure("nvme-tcp", "nvmet-tcp")
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, name := range order {
		at[name] = i + 1
	}
	if at["nvme_fabrics"] == 0 || at["nvme_fabrics"] > at["nvme_tcp"] || at["nvmet"] == 0 || at["nvmet"] > at["nvmet_tcp"] || len(at) != len(order) {
		t.Errorf("they are loaded as %q", order)
	}
	if none, err := s.modules.closure("built_in"); err != nil || len(none) > 0 {
		t.Errorf("what is no module needs %q, %v", none, err)
	}
}
