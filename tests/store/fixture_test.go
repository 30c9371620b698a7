// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

// rewrite makes the fixture of the format that this build writes:
//
//	go test ./tests/store -run TestFixtures -rewrite
//
// Those of formats that were released stay as they are for ever.
var rewrite = flag.Bool("rewrite", false, "make the fixture of the present format again") //nolint:gochecknoglobals // a flag of the test

// present is the format that this build writes. There has been no other yet.
const present = "format1"

// TestFixtures: stores of every format that was ever released, as a file and as an export that goes into
// Redis, are whole, and a bridge puts what they hold into the data plane, secrets included.
func TestFixtures(t *testing.T) {
	if *rewrite {
		makeFixture(t)
	}
	for _, format := range []string{"format1"} {
		dir := t.TempDir()
		copied := func(name string) string {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, read(t, filepath.Join("testdata", name)), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		keys, file, export := copied(format+".key"), copied(format+".db"), copied(format+".export")
		redis := "redis://" + testkit.Redis(t).Addr()
		wants(t, 0, "imported 5 resources", "import", "--store", redis, "--instance", "test", "--input", export)
		for _, url := range []string{"bolt://" + file, redis} {
			wants(t, 0, "1 with secrets, all opened", "verify", "--store", url, "--instance", "test", "--secret-key-file", keys)
			dataPlane := testkit.DataPlane(t)
			bridge := testkit.Bridge(t, testkit.BridgeConfig{
				SPDK: dataPlane.Addr(), Store: url, Flags: []string{"--secret-key-file", keys, "--key-dir", filepath.Join(dir, "keys")},
			})
			client := bridgev1.NewBridgeServiceClient(dial(t, bridge))
			list, err := client.ListResourceStatus(t.Context(), &bridgev1.ListResourceStatusRequest{})
			if err != nil || len(list.GetResources()) != 5 {
				t.Fatalf("%s on %s: %v, %v", format, url, list, err)
			}
			// The uuid that was given out when the fixture was made.
			uuid := strings.TrimSpace(string(read(t, filepath.Join("testdata", format+".uuid"))))
			testkit.Eventually(t, format+" on "+url, func() error {
				if got := held(t, dataPlane); !strings.Contains(got, uuid) {
					return fmt.Errorf("no namespace has the uuid %s: %s", uuid, got)
				}
				return nil
			})
			bridge.Stop()
		}
	}
}

// makeFixture lets a bridge write a store.
func makeFixture(t *testing.T) {
	t.Helper()
	at := func(ending string) string {
		path, err := filepath.Abs(filepath.Join("testdata", present+ending))
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, ending := range []string{".key", ".db", ".export", ".uuid"} {
		_ = os.Remove(at(ending))
	}
	dataPlane := testkit.DataPlane(t)
	bridge := testkit.Bridge(t, testkit.BridgeConfig{
		SPDK: dataPlane.Addr(), Store: "bolt://" + at(".db"), Flags: []string{"--secret-key-file", at(".key"), "--key-dir", t.TempDir()},
	})
	ns := resources(t, dial(t, bridge))
	bridge.Stop()
	wants(t, 0, "exported", "export", "--store", "bolt://"+at(".db"), "--output", at(".export"))
	if err := os.WriteFile(at(".uuid"), []byte(ns.GetSpec().GetUuid()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}
