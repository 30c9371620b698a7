// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// safe is a rig that keeps secrets, and everything that it has logged.
type safe struct {
	*rig
	mu  sync.Mutex
	out bytes.Buffer // guarded by mu
}

// Write takes a line of the log.
func (s *safe) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}

func newSafe(t *testing.T) *safe {
	t.Helper()
	sealer, err := secret.LoadOrCreateKeyFile(filepath.Join(t.TempDir(), "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	s := &safe{}
	s.rig = stopped(t)
	s.sealer, s.keyDir = sealer, filepath.Join(t.TempDir(), "keys")
	s.log = slog.New(slog.NewJSONHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.dataPlane = testkit.DataPlane(t, "--crash-like-spdk", "--vhost-dir", testkit.SocketDir(t))
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

// shows says in which form text holds a secret, "" for none.
func shows(text, secret []byte) string {
	hexed := hex.EncodeToString(secret)
	for name, form := range map[string]string{
		"raw": string(secret), "hex": hexed, "HEX": strings.ToUpper(hexed),
		"base64": base64.StdEncoding.EncodeToString(secret), "base64url": base64.URLEncoding.EncodeToString(secret),
	} {
		// Base64 of a part that begins elsewhere looks different at its ends only.
		if bytes.Contains(text, []byte(strings.TrimRight(form, "="))) {
			return name
		}
	}
	return ""
}

// hides checks store, log and errors for secrets.
func (s *safe) hides(secrets [][]byte, errs ...error) {
	s.t.Helper()
	file, err := os.ReadFile(strings.TrimPrefix(s.dbURL, "bolt://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	log := bytes.Clone(s.out.Bytes())
	s.mu.Unlock()
	if len(log) == 0 {
		s.t.Error("the log is empty")
	}
	for _, one := range secrets {
		if form := shows(file, one); form != "" {
			s.t.Errorf("the store's file holds a secret as %s", form)
		}
		if form := shows(log, one); form != "" {
			s.t.Errorf("the log holds a secret as %s", form)
		}
		for _, err := range errs {
			if form := shows(fmt.Appendf(nil, "%v %+v %#v", err, err, err), one); form != "" {
				s.t.Errorf("an error holds a secret as %s: %v", form, err)
			}
		}
	}
}

// keeps checks that what is sealed is in the store, so that what hides looks through is the right file.
func (s *safe) keeps() {
	s.t.Helper()
	file, err := os.ReadFile(strings.TrimPrefix(s.dbURL, "bolt://"))
	if err != nil || !bytes.Contains(file, []byte("v1:")) {
		s.t.Errorf("the store's file holds nothing that is sealed: %v", err)
	}
}

// restartAll restarts bridge and data plane.
func (s *safe) restartAll() {
	s.t.Helper()
	s.stop()
	s.dataPlane.Restart()
	s.start()
}

// io runs opi-dataplane's initiator on the namespace of testNQN.
func (s *safe) io(mode string, port int) error {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), testkit.Program(s.t, "opi-dataplane"), "io", mode,
		"--address", fmt.Sprintf("tcp://127.0.0.1:%d", port), "--subnqn", testNQN, "--hostnqn", "nqn.2024-01.io.example:host",
		"--wait", "20s", "--seed", "7")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("io %s: %w\n%s", mode, err, out)
	}
	return nil
}

// TestEncryptedVolumeOutlivesRestarts: its data can be read after any restart, is not on the disk
// below as it was written, and its key is nowhere to be seen.
func TestEncryptedVolumeOutlivesRestarts(t *testing.T) {
	t.Parallel()
	const bytesOfDisk = 4 << 20
	s := newSafe(t)
	key := make([]byte, 64)
	_, _ = rand.Read(key)
	secrets := [][]byte{key, key[:32], key[32:]}
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, make([]byte, bytesOfDisk), 0o600); err != nil {
		t.Fatal(err)
	}
	volume := func(k []byte) *pb.EncryptedVolume {
		return &pb.EncryptedVolume{VolumeNameRef: "aioVolumes/disk-1", Cipher: pb.EncryptionType_ENCRYPTION_TYPE_AES_XTS_256, Key: k}
	}
	s.mustCreate("aioVolumes", "", "disk-1", &pb.AioVolume{Filename: disk, BlockSize: 512, BlocksCount: bytesOfDisk / 512})
	got := s.mustCreate("encryptedVolumes", "", "secret-1", volume(key))
	if m, ok := got.(*pb.EncryptedVolume); !ok || len(m.GetKey()) > 0 {
		t.Error("the answer carries the key")
	}
	s.mustCreate("nvmeSubsystems", "", "web-1", subsystem())
	port := testkit.FreePort(t)
	s.mustCreate("nvmeControllers", "nvmeSubsystems/web-1", "ctrl-1", listener(port))
	s.mustCreate("nvmeNamespaces", "nvmeSubsystems/web-1", "ns-1", namespace("encryptedVolumes/secret-1"))
	if err := s.io("write", port); err != nil {
		t.Fatal(err)
	}

	other := bytes.Clone(key)
	other[0] ^= 1
	_, otherErr := s.create("encryptedVolumes", "", "secret-1", volume(other))
	wantClass(t, "another key under the same name", otherErr, errdefs.AlreadyExists)
	_, shortErr := s.create("encryptedVolumes", "", "secret-2", volume(key[:63]))
	wantClass(t, "a key that is too short", shortErr, errdefs.InvalidArgument)
	inUseErr := s.remove("aioVolumes", "aioVolumes/disk-1")
	wantClass(t, "the volume below", inUseErr, errdefs.FailedPrecondition)
	again, err := s.create("encryptedVolumes", "", "secret-1", volume(key))
	if m, ok := again.(*pb.EncryptedVolume); err != nil || !ok || len(m.GetKey()) > 0 {
		t.Errorf("the same again: %v", err)
	}
	errs := []error{otherErr, shortErr, inUseErr}

	for _, step := range []struct {
		what    string
		restart func()
	}{
		{"bridge", s.restart},
		{"data plane", func() { s.dataPlane.Restart() }},
		{"both", s.restartAll},
		{"bridge again", s.restart},
	} {
		step.restart()
		s.settled()
		testkit.Eventually(t, "the key is back after a restart of "+step.what, func() error {
			if s.there()[driver.CryptoKeyKey("opi-bridge:secret-1")] == nil {
				return fmt.Errorf("status %+v", s.eng.Status())
			}
			return nil
		})
		if err := s.io("read", port); err != nil {
			t.Errorf("after a restart of %s: %v", step.what, err)
		}
		m, err := s.get("encryptedVolumes", "encryptedVolumes/secret-1")
		if v, ok := m.(*pb.EncryptedVolume); err != nil || !ok || len(v.GetKey()) > 0 {
			t.Errorf("after a restart of %s: %v, or the key is in the answer", step.what, err)
		}
		s.hides(append(secrets, other), errs...)
		s.keeps()
	}
	raw, err := os.ReadFile(disk)
	if err != nil || bytes.Equal(raw, make([]byte, bytesOfDisk)) {
		t.Fatalf("nothing was written to the disk: %v", err)
	}

	for _, name := range []string{"nvmeNamespaces nvmeSubsystems/web-1/nvmeNamespaces/ns-1", "encryptedVolumes encryptedVolumes/secret-1", "aioVolumes aioVolumes/disk-1"} {
		collection, full, _ := strings.Cut(name, " ")
		if err := s.remove(collection, full); err != nil {
			t.Errorf("delete %s: %v", full, err)
		}
	}
	if o := s.there()[driver.CryptoKeyKey("opi-bridge:secret-1")]; o != nil {
		t.Error("the key is in the data plane after its volume")
	}
	s.hides(append(secrets, other), errs...)
}

// TestPSKOutlivesRestarts: the key of a subsystem's host is in a file of its own as long as it is
// needed, and nowhere else.
func TestPSKOutlivesRestarts(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	sum := crc32.ChecksumIEEE(raw)
	text := "NVMeTLSkey-1:01:" + base64.StdEncoding.EncodeToString(append(bytes.Clone(raw), byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24))) + ":"
	secrets := [][]byte{raw, []byte(text)}
	m := &pb.NvmeRemoteController{
		Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH, Tcp: &pb.TcpController{Psk: []byte(text)},
	}
	got := s.mustCreate("nvmeRemoteControllers", "", "remote-1", m)
	if c, ok := got.(*pb.NvmeRemoteController); !ok || len(c.GetTcp().GetPsk()) > 0 {
		t.Error("the answer carries the key")
	}
	there := func() (n int, err error) {
		entries, err := os.ReadDir(s.keyDir)
		if err != nil {
			return 0, err
		}
		for _, e := range entries {
			if content, err := os.ReadFile(filepath.Join(s.keyDir, e.Name())); err != nil || string(content) != text {
				return 0, fmt.Errorf("%s holds something else: %w", e.Name(), err)
			}
			n++
		}
		return n, nil
	}
	key := driver.TLSKeyKey("opi-bridge:path:remote-1")
	for _, restart := range []func(){func() {}, s.restart, func() { s.dataPlane.Restart() }, s.restartAll} {
		restart()
		s.settled()
		testkit.Eventually(t, "the key is there", func() error {
			if n, err := there(); err != nil || n != 1 || s.there()[key] == nil {
				return fmt.Errorf("%d files, %w", n, err)
			}
			return nil
		})
		s.hides(secrets)
		s.keeps()
	}
	if err := s.remove("nvmeRemoteControllers", "nvmeRemoteControllers/remote-1"); err != nil {
		t.Error(err)
	}
	if n, err := there(); err != nil || n != 0 || s.there()[key] != nil {
		t.Errorf("%d files are left: %v", n, err)
	}
	s.hides(secrets)
}

// TestSecretsNeedASealer: without a key to seal with nothing that holds a secret is taken.
func TestSecretsNeedASealer(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.mustCreate("nullVolumes", "", "vol-1", nullVolume())
	key := bytes.Repeat([]byte{1, 2}, 16)
	key[0] = 9
	_, err := r.create("encryptedVolumes", "", "secret-1", &pb.EncryptedVolume{
		VolumeNameRef: "nullVolumes/vol-1", Cipher: pb.EncryptionType_ENCRYPTION_TYPE_AES_XTS_128, Key: key,
	})
	wantClass(t, "a volume with a key", err, errdefs.FailedPrecondition)
	if err == nil || !strings.Contains(err.Error(), "--secret-key-file") {
		t.Errorf("got %v", err)
	}
	if b, ok := r.there()[driver.BdevKey("secret-1")]; ok {
		t.Errorf("made: %+v", b)
	}
	if text, err := json.Marshal(r.eng.Status()); err != nil || shows(text, key) != "" {
		t.Errorf("the status shows the key, %v", err)
	}
}
