// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc"

	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// tool runs `opi-bridge store` and returns its exit code and all that it printed.
func tool(t *testing.T, args ...string) (code int, printed string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), testkit.Program(t, "opi-bridge"), append([]string{"store"}, args...)...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return code, string(out)
}

// wants runs the tool and wants an exit code and a text.
func wants(t *testing.T, code int, text string, args ...string) {
	t.Helper()
	if got, printed := tool(t, args...); got != code || !strings.Contains(printed, text) {
		t.Errorf("opi-bridge store %s\nexit code %d, want %d and %q:\n%s", strings.Join(args, " "), got, code, text, printed)
	}
}

// resources makes one of several kinds, with references and a secret, and returns the last, a namespace.
func resources(t *testing.T, conn *grpc.ClientConn) *pb.NvmeNamespace {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := pb.NewMallocVolumeServiceClient(conn).CreateMallocVolume(t.Context(), &pb.CreateMallocVolumeRequest{
		MallocVolumeId: "plain-1", MallocVolume: &pb.MallocVolume{BlockSize: 512, BlocksCount: 2048},
	})
	must(err)
	_, err = pb.NewMiddleendEncryptionServiceClient(conn).CreateEncryptedVolume(t.Context(), &pb.CreateEncryptedVolumeRequest{
		EncryptedVolumeId: "secret-1", EncryptedVolume: &pb.EncryptedVolume{
			VolumeNameRef: "mallocVolumes/plain-1", Cipher: pb.EncryptionType_ENCRYPTION_TYPE_AES_XTS_128, Key: []byte("0123456789abcdef0123456789abcdeF"),
		},
	})
	must(err)
	front := pb.NewFrontendNvmeServiceClient(conn)
	_, err = front.CreateNvmeSubsystem(t.Context(), &pb.CreateNvmeSubsystemRequest{
		NvmeSubsystemId: "disk-1", NvmeSubsystem: &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: "nqn.2024-01.io.example:disk-1"}},
	})
	must(err)
	_, err = front.CreateNvmeController(t.Context(), &pb.CreateNvmeControllerRequest{
		Parent: "nvmeSubsystems/disk-1", NvmeControllerId: "ctrl-1",
		NvmeController: &pb.NvmeController{Spec: &pb.NvmeControllerSpec{
			Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP,
			Endpoint: &pb.NvmeControllerSpec_FabricsId{FabricsId: &pb.FabricsEndpoint{
				Traddr: "127.0.0.1", Trsvcid: strconv.Itoa(testkit.FreePort(t)), Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
			}},
		}},
	})
	must(err)
	ns, err := front.CreateNvmeNamespace(t.Context(), &pb.CreateNvmeNamespaceRequest{
		Parent: "nvmeSubsystems/disk-1", NvmeNamespaceId: "ns-1",
		NvmeNamespace: &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{VolumeNameRef: "encryptedVolumes/secret-1"}},
	})
	must(err)
	return ns
}

// held returns what a data plane holds, as it says it.
func held(t *testing.T, dataPlane *testkit.DataPlaneProcess) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", dataPlane.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	answers := json.NewDecoder(conn)
	var all []string
	for i, method := range []string{"bdev_get_bdevs", "nvmf_get_subsystems"} {
		if _, err := fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%d,"method":%q}`, i+1, method); err != nil {
			t.Fatal(err)
		}
		var answer struct{ Result, Error json.RawMessage }
		if err := answers.Decode(&answer); err != nil || answer.Error != nil {
			t.Fatalf("%s: %v, %s", method, err, answer.Error)
		}
		all = append(all, string(answer.Result))
	}
	return strings.Join(all, "\n")
}

// TestMove: a store goes from a file to Redis and back and is the same; a bridge that is started on it
// serves the same and leaves the data plane alone.
func TestMove(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	keys, first, second := at("seal.key"), "bolt://"+at("first.db"), "bolt://"+at("second.db")
	server := testkit.Redis(t)
	there := []string{"--store", "redis://" + server.Addr() + "/2", "--instance", "test"}
	dataPlane := testkit.DataPlane(t)
	serve := func(url string) *testkit.BridgeProcess {
		return testkit.Bridge(t, testkit.BridgeConfig{
			SPDK: dataPlane.Addr(), Store: url, Flags: []string{"--secret-key-file", keys, "--key-dir", at("keys")},
		})
	}
	bridge := serve(first)
	resources(t, dial(t, bridge))
	wants(t, 1, "another process (pid", "verify", "--store", first)
	bridge.Stop()
	before := held(t, dataPlane)

	wants(t, 0, "exported 5 resources", "export", "--store", first, "--output", at("1.export"))
	wants(t, 0, "1 with secrets, all opened", "verify", "--store", first, "--secret-key-file", keys)
	wants(t, 0, "not opened", "verify", "--input", at("1.export"))
	wants(t, 1, "there is no store", append([]string{"export"}, there...)...)
	wants(t, 1, "no such file", "export", "--store", "bolt://"+at("mistyped.db"))
	wants(t, 0, "imported 5 resources", append([]string{"import", "--input", at("1.export")}, there...)...)
	wants(t, 0, "exported 5 resources", append([]string{"export", "--output", at("2.export")}, there...)...)
	wants(t, 0, "imported 5 resources", "import", "--store", second, "--input", at("2.export"))
	wants(t, 0, "exported 5 resources", "export", "--store", second, "--output", at("3.export"))
	one, two, three := read(t, at("1.export")), read(t, at("2.export")), read(t, at("3.export"))
	if !bytes.Equal(one, two) || !bytes.Equal(one, three) {
		t.Errorf("the exports differ:\n%s\n%s\n%s", one, two, three)
	}
	if bytes.Contains(one, []byte("0123456789abcdef")) || bytes.Contains(one, []byte("MDEyMzQ1Njc4OWFiY2Rl")) {
		t.Error("the export shows a secret")
	}
	if _, err := os.Stat(at("mistyped.db")); err == nil {
		t.Error("an export has made the store that it did not find")
	}

	moved := serve("redis://" + server.Addr() + "/2")
	if after := held(t, dataPlane); after != before {
		t.Errorf("the data plane holds\n%s\nand held before\n%s", after, before)
	}
	ns, err := pb.NewFrontendNvmeServiceClient(dial(t, moved)).GetNvmeNamespace(t.Context(), &pb.GetNvmeNamespaceRequest{Name: "nvmeSubsystems/disk-1/nvmeNamespaces/ns-1"})
	if err != nil || ns.GetSpec().GetUuid() == "" || !strings.Contains(before, ns.GetSpec().GetUuid()) {
		t.Errorf("the namespace is %v, %v; the data plane held\n%s", ns, err, before)
	}
	wants(t, 1, "uses it", append([]string{"import", "--replace", "--input", at("1.export")}, there...)...)
	wants(t, 0, `"opi_bridge_export":1`, append([]string{"export"}, there...)...)
	moved.Stop()

	wants(t, 1, "holds 5 documents", append([]string{"import", "--input", at("1.export")}, there...)...)
	wants(t, 1, "holds 5 documents", "import", "--store", second, "--input", at("1.export"))
	wants(t, 0, "imported", append([]string{"import", "--replace", "--input", at("1.export")}, there...)...)
	wants(t, 0, "imported", "import", "--replace", "--store", second, "--input", at("1.export"))

	// What verify is for.
	if err := os.WriteFile(at("other.key"), []byte("other "+strings.Repeat("A", 43)+"=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wants(t, 3, "cannot be opened", append([]string{"verify", "--secret-key-file", at("other.key")}, there...)...)
	server.CLI("-n", "2", "HDEL", "opi-bridge:{test}:documents", "mallocVolumes/plain-1")
	wants(t, 3, "encryptedVolumes/secret-1: volume_name_ref: mallocVolumes/plain-1 does not exist", append([]string{"verify"}, there...)...)
	value := server.CLI("-n", "2", "HGET", "opi-bridge:{test}:documents", "nvmeSubsystems/disk-1")
	server.CLI("-n", "2", "HSET", "opi-bridge:{test}:documents", "nvmeSubsystems/disk-2", strings.Replace(value, "nvmeSubsystems/disk-1", "nvmeSubsystems/disk-2", 1))
	wants(t, 3, "nvmeSubsystems/disk-2: revision", append([]string{"verify"}, there...)...)
	wants(t, 3, "is that of nvmeSubsystems/disk-1 too", append([]string{"verify"}, there...)...)
	server.CLI("-n", "2", "HDEL", "opi-bridge:{test}:documents", "encryptedVolumes/secret-1")
	wants(t, 1, "sealed secrets of 1 documents that do not exist", append([]string{"verify"}, there...)...)
	server.CLI("-n", "2", "HSET", "opi-bridge:{test}:meta", "format", "2", "written_by", "9.9")
	wants(t, 1, `stored format is 2, written by version "9.9"`, append([]string{"verify"}, there...)...)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestImportKilled: an import that is killed leaves all of it or nothing.
func TestImportKilled(t *testing.T) {
	const documents = 3000
	m := store.Image{Format: 1, WrittenBy: "test", Revision: documents}
	for i := range documents {
		m.Documents = append(m.Documents, store.Document{Name: fmt.Sprintf("nullVolumes/vol-%05d", i), Revision: uint64(i + 1), Body: []byte(`{"state":"READY"}`)})
	}
	dir := t.TempDir()
	var export bytes.Buffer
	if err := m.Write(&export); err != nil {
		t.Fatal(err)
	}
	input := filepath.Join(dir, "export")
	if err := os.WriteFile(input, export.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	server := testkit.Redis(t)
	program := testkit.Program(t, "opi-bridge")
	// As long as one takes that is not killed, and a little more.
	start := time.Now()
	wants(t, 0, "imported", "import", "--input", input, "--store", "redis://"+server.Addr(), "--instance", "whole")
	longest := time.Since(start) * 5 / 4
	whole := 0
	for round := range 16 {
		place := []string{"--store", "redis://" + server.Addr(), "--instance", "i-" + strconv.Itoa(round)}
		if round%2 == 0 {
			place = []string{"--store", "bolt://" + filepath.Join(dir, strconv.Itoa(round)+".db")}
		}
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(longest))
		_ = exec.CommandContext(ctx, program, append([]string{"store", "import", "--input", input}, place...)...).Run()
		cancel()
		code, printed := tool(t, append([]string{"export"}, place...)...)
		switch {
		case code == 0 && strings.Count(printed, "\n") == documents+2:
			whole++
		case code != 1 || !strings.Contains(printed, "there is no store") && !strings.Contains(printed, "no such file"):
			t.Errorf("round %d: exit code %d, %d lines: %.300s", round, code, strings.Count(printed, "\n"), printed)
		}
	}
	t.Logf("killed imports: %d of 16 were whole, the others had done nothing", whole)
}
