// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// documented returns the user that the documentation tells operators to make, as a setting of the server.
func documented(t *testing.T, password string) []string {
	t.Helper()
	const command = "    ACL SETUSER "
	for line := range strings.Lines(string(read(t, filepath.Join("..", "..", "docs", "operations.md")))) {
		if rest, ok := strings.CutPrefix(line, command); ok {
			return strings.Fields(strings.NewReplacer("PASSWORD", password, "{dpu-1}", "{test}").Replace(rest))
		}
	}
	t.Fatal("docs/operations.md does not say ACL SETUSER")
	return nil
}

// create makes a null volume.
func create(t *testing.T, conn *grpc.ClientConn, id string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := pb.NewNullVolumeServiceClient(conn).CreateNullVolume(ctx, &pb.CreateNullVolumeRequest{
		NullVolumeId: id, NullVolume: &pb.NullVolume{BlockSize: 512, BlocksCount: 64},
	})
	return err
}

// TestLeastPrivilege: with TLS, a certificate and the documented user, who may do nothing else, the
// bridge works, and shows the password nowhere.
func TestLeastPrivilege(t *testing.T) {
	const password = "correct-horse-battery"
	ca, dir := testkit.NewAuthority(t, "ca"), t.TempDir()
	cert, key := ca.Files()
	ca.Issue("server", 2, cert, key)
	file := filepath.Join(dir, "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(testkit.FreePort(t))
	server := testkit.Redis(t, append([]string{
		"--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ca.CAFile(), "--user",
	}, documented(t, password)...)...)
	store := []string{"--store", "rediss://opi-bridge@127.0.0.1:" + port + "/0?password_file=" + file +
		"&tls_ca=" + ca.CAFile() + "&tls_cert=" + cert + "&tls_key=" + key + "&tls_server_name=localhost", "--instance", "test"}
	bridge := testkit.Bridge(t, testkit.BridgeConfig{SPDK: testkit.DataPlane(t).Addr(), Store: store[1], Flags: []string{"--log-level", "debug"}})
	conn := dial(t, bridge)
	if err := create(t, conn, "vol-1"); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if err := create(t, conn, "vol-2"); status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), password) {
		t.Errorf("without Redis: %v", err)
	}
	server.Start()
	testkit.Eventually(t, "the bridge works again", func() error { return create(t, conn, "vol-3") })
	out := bridge.Output()
	if !strings.Contains(out, "appendfsync is always") || strings.Contains(out, password) {
		t.Errorf("the bridge does not know how durable its store is, or shows the password:\n%s", out)
	}
	export := filepath.Join(dir, "export")
	wants(t, 0, "exported 2", append([]string{"export", "--output", export}, store...)...)
	wants(t, 0, "nothing is wrong", append([]string{"verify"}, store...)...)
	bridge.Stop()
	wants(t, 0, "imported 2", append([]string{"import", "--replace", "--input", export}, store...)...)
	for _, command := range []string{"FLUSHALL", "KEYS *", "HGET opi-bridge:{other}:meta format", "CONFIG SET appendonly no", "ACL LIST"} {
		args := append([]string{"--user", "opi-bridge", "--pass", password, "--no-auth-warning"}, strings.Fields(command)...)
		if said := server.CLI(args...); !strings.Contains(said, "NOPERM") {
			t.Errorf("the user may do %s: %s", command, said)
		}
	}
}

// TestFull: a store that takes nothing more says so, nothing is lost or left half, and all goes on when
// there is room again.
func TestFull(t *testing.T) {
	server := testkit.Redis(t)
	bridge := testkit.Bridge(t, testkit.BridgeConfig{SPDK: testkit.DataPlane(t).Addr(), Store: "redis://" + server.Addr()})
	conn := dial(t, bridge)
	refused := func(id string, code codes.Code) {
		t.Helper()
		if err := create(t, conn, id); status.Code(err) != code {
			t.Errorf("create %s: %v, want %v", id, err, code)
		}
		volumes := pb.NewNullVolumeServiceClient(conn)
		list, err := volumes.ListNullVolumes(t.Context(), &pb.ListNullVolumesRequest{})
		if err != nil || len(list.GetNullVolumes()) != 1 {
			t.Errorf("after %s was refused: %v, %v; want one volume", id, list, err)
		}
	}
	if err := create(t, conn, "vol-1"); err != nil {
		t.Fatal(err)
	}
	server.CLI("CONFIG", "SET", "maxmemory", "1")
	refused("vol-2", codes.ResourceExhausted)
	server.CLI("CONFIG", "SET", "maxmemory", "0")

	// A server whose snapshots fail takes no writes (MISCONF).
	server.CLI("CONFIG", "SET", "save", "3600 1")
	dump := filepath.Join(strings.Split(server.CLI("CONFIG", "GET", "dir"), "\n")[1], "dump.rdb")
	if err := os.Mkdir(dump, 0o700); err != nil {
		t.Fatal(err)
	}
	server.CLI("BGSAVE")
	testkit.Eventually(t, "the snapshot fails", func() error {
		if info := server.CLI("INFO", "persistence"); !strings.Contains(info, "rdb_last_bgsave_status:err") {
			return errNoOther
		}
		return nil
	})
	refused("vol-3", codes.Unavailable)
	server.CLI("CONFIG", "SET", "save", "")
	testkit.Eventually(t, "there is room again", func() error { return create(t, conn, "vol-4") })
	wants(t, 0, "2 resources: nothing is wrong", "verify", "--store", "redis://"+server.Addr(), "--instance", "test")
}
