// SPDX-License-Identifier: Apache-2.0

package house_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// module is the path all packages of ours begin with.
const module = "github.com/opi-bridge/opi-bridge/"

// The layers. A room imports what its line in the table names; a room's tests may import whatever
// lies in their own layer or below it, but never the other one of the two planes.
const (
	words        = iota // what all rooms share
	wire                // formats and protocols
	dataPlane           // moves bytes
	controlPlane        // decides what should be
	face                // what clients talk to
	program             // main packages
	test                // imported by tests only
)

// room is a package and everything below it that has no line of its own.
type room struct {
	path    string
	layer   int
	imports string
	reason  string
}

// everything, as imports of a program, stands for what its layers allow.
const everything = "*"

var rooms = []room{
	{"pkg/errdefs", words, "", "the words for failing are shared by all, so they know nobody"},
	{"pkg/errdefs/errgrpc", words, "pkg/errdefs", "the only place where error classes meet gRPC codes"},
	{"pkg/secret", words, "", "a value that never prints must not depend on anything that prints"},
	{"pkg/tlsconf", words, "", "server, store clients, CLI and CSI use the same settings"},
	{"pkg/telemetry", words, "", "rooms define their instruments; telemetry only builds where they go"},

	{"pkg/jsonrpc", wire, "pkg/errdefs", "an envelope; it knows no method"},
	{"pkg/spdkrpc", wire, "pkg/jsonrpc pkg/errdefs", "SPDK's methods as a client sees them; shares nothing but the envelope with pkg/dataplane, so that both cannot be wrong together"},
	{"pkg/qmp", wire, "pkg/errdefs", "QEMU's protocol for machines; it knows no device, and whoever plugs need not know lines and ids"},
	{"pkg/nvme", wire, "", "byte views, used by both ends of a wire; no sockets"},

	{"pkg/bdev", dataPlane, "pkg/errdefs pkg/secret", "a block device does not know who uses it"},
	{"pkg/bdev/bdevtest", dataPlane, "pkg/bdev pkg/errdefs pkg/secret pkg/testkit", "the suite sees the interface only; no program imports it"},
	{"pkg/nvmf/tlspsk", wire, "", "TLS 1.3 with pre-shared keys, which no library has; it knows nothing of NVMe, and only the data plane's two ends may use it: everything else has crypto/tls"},
	{"pkg/nvmf/target", dataPlane, "pkg/nvme pkg/nvmf/tlspsk pkg/bdev pkg/errdefs", "the target serves any block device and knows no RPC"},
	{"pkg/nvmf/host", dataPlane, "pkg/nvme pkg/nvmf/tlspsk pkg/bdev pkg/errdefs", "the initiator yields block devices and knows no RPC"},
	{"pkg/vhost", dataPlane, "pkg/bdev pkg/errdefs", "as the NVMe target, for virtio"},
	{"pkg/dataplane", dataPlane, "pkg/bdev pkg/nvmf/target pkg/nvmf/host pkg/vhost pkg/nvme pkg/nvmf/tlspsk pkg/jsonrpc pkg/errdefs pkg/secret", "SPDK's methods served over the four engines; pkg/nvme for the words in parameters and answers"},

	{"pkg/driver", controlPlane, "pkg/errdefs pkg/secret", "what any card can hold; no card by name"},
	{"pkg/driver/drivertest", controlPlane, "pkg/driver pkg/errdefs pkg/secret pkg/testkit", "the suite sees the interface only; no program imports it"},
	{"pkg/driver/spdk", controlPlane, "pkg/driver pkg/spdkrpc pkg/errdefs pkg/secret", "the one driver that speaks SPDK"},
	{"pkg/driver/kvm", controlPlane, "pkg/driver pkg/qmp pkg/errdefs", "the one driver that speaks to QEMU; it wraps any other and knows no data plane"},
	{"pkg/resource", controlPlane, "pkg/driver pkg/errdefs pkg/secret", "the vocabulary of desired state is pure"},
	{"pkg/store", controlPlane, "pkg/resource pkg/errdefs pkg/secret", "records, not what they mean"},
	{"pkg/store/redis", controlPlane, "pkg/store pkg/resource pkg/tlsconf pkg/errdefs pkg/secret", "one implementation, chosen by the program; Redis may ask for TLS"},
	{"pkg/store/bolt", controlPlane, "pkg/store pkg/resource pkg/errdefs pkg/secret", "one implementation, chosen by the program"},
	{"pkg/store/storetest", controlPlane, "pkg/store pkg/resource pkg/errdefs pkg/secret pkg/testkit", "the suite sees the interface only; no program imports it"},
	{"pkg/kinds", controlPlane, "pkg/resource pkg/driver pkg/errdefs pkg/secret", "a kind is a declaration: no I/O, no store, no engine"},
	{"pkg/engine", controlPlane, "pkg/resource pkg/store pkg/driver pkg/errdefs pkg/secret", "one mechanism for all kinds, stores and cards; none by name"},

	{"proto", face, "", "generated messages of our own API"},
	{"pkg/api", face, "pkg/engine pkg/resource pkg/driver pkg/errdefs proto", "handlers are driven by descriptors; a kind, store or card is never named; pkg/driver for the type of the counters"},
	{"pkg/server", face, "pkg/api pkg/tlsconf pkg/telemetry pkg/errdefs pkg/errdefs/errgrpc proto", "listeners and interceptors around the API"},
	{"pkg/csi", face, "pkg/tlsconf pkg/telemetry pkg/errdefs pkg/errdefs/errgrpc proto", "a client of the API like any other"},

	{"cmd/opi-bridge", program, everything, "wires the control plane"},
	{"cmd/opi-dataplane", program, everything, "wires the data plane"},
	{"cmd/opictl", program, "pkg/tlsconf pkg/telemetry pkg/errdefs pkg/errdefs/errgrpc proto", "a client of the API like any other"},
	{"cmd/opi-csi", program, "pkg/csi pkg/tlsconf pkg/telemetry pkg/errdefs proto", "a client of the API like any other"},
	{"deploy", program, "proto", "starts programs as a user would and is a client of the API"},

	{"pkg/testkit", test, "pkg/errdefs pkg/errdefs/errgrpc pkg/secret pkg/tlsconf pkg/telemetry pkg/jsonrpc pkg/spdkrpc pkg/nvme pkg/bdev pkg/nvmf/target pkg/nvmf/host pkg/vhost pkg/dataplane", "real parts for tests: the one bridge from control-plane tests to the data plane"},
	{"tests", test, everything, "tests by outcome see whatever they judge"},
}

// notOf lists layers and rooms that programs allowed "everything" must still leave alone.
var notOf = map[string]struct {
	refused func(room) bool
	reason  string
}{
	"cmd/opi-bridge":    {func(r room) bool { return r.layer == dataPlane || r.layer == test }, "production runs SPDK; the bridge meets any data plane on the socket"},
	"cmd/opi-dataplane": {func(r room) bool { return r.layer > dataPlane }, "the data plane does not know the bridge"},
}

// doors lists foreign modules that may be used in few rooms only, so that replacing one is one room's work.
var doors = []struct {
	module, rooms, reason string
}{
	{"github.com/redis/", "pkg/store/redis pkg/testkit cmd/opi-bridge tests", "Redis is one of two stores"},
	{"go.etcd.io/bbolt", "pkg/store/bolt tests", "bbolt is one of two stores"},
	{"github.com/spf13/", "cmd/opi-bridge cmd/opi-dataplane cmd/opictl cmd/opi-csi", "only programs have flags"},
	{"google.golang.org/grpc", "pkg/errdefs/errgrpc pkg/tlsconf pkg/telemetry pkg/api pkg/server pkg/csi proto pkg/testkit cmd/opi-bridge cmd/opictl cmd/opi-csi deploy tests", "below the API errors are classes, not codes"},
	{"github.com/opiproject/opi-api", "pkg/kinds pkg/api pkg/server pkg/csi pkg/testkit cmd/opi-bridge cmd/opictl cmd/opi-csi deploy tests", "the engine knows no kind by name"},
	{"github.com/grpc-ecosystem/", "pkg/api pkg/server pkg/csi proto cmd/opi-bridge tests", "the gateway and interceptors stand at the front door"},
	{"github.com/prometheus/", "pkg/telemetry pkg/server pkg/api pkg/csi cmd/opi-bridge cmd/opi-csi tests", "rooms below count in plain numbers or otel instruments"},
}

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func TestRoomsImportOnlyWhatTheTableAllows(t *testing.T) {
	for _, p := range packages(t) {
		home, ok := roomOf(p.ImportPath)
		if !ok {
			t.Errorf("%s belongs to no room: put the code into a room of the table in tests/house, or add the room with its reason", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			checkImport(t, p, home, imported)
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			checkTestImport(t, p, home, imported)
		}
	}
}

func TestForeignModulesHaveFewDoors(t *testing.T) {
	for _, p := range packages(t) {
		home, _ := roomOf(p.ImportPath)
		for _, imported := range p.Imports {
			for _, door := range doors {
				if strings.HasPrefix(imported, door.module) && !slices.Contains(strings.Fields(door.rooms), home.path) {
					t.Errorf("%s imports %s, which is for %s: %s", p.ImportPath, imported, door.rooms, door.reason)
				}
			}
		}
	}
}

func TestSuitesAreImportedByTestsOnly(t *testing.T) {
	for _, p := range packages(t) {
		if home, ok := roomOf(p.ImportPath); !ok || home.layer == test || strings.HasSuffix(home.path, "test") {
			continue
		}
		for _, imported := range p.Imports {
			if r, ok := roomOf(imported); ok && strings.HasSuffix(r.path, "test") {
				t.Errorf("%s imports the suite %s: only tests do", p.ImportPath, imported)
			}
		}
	}
}

func TestNoPackageIsADrawer(t *testing.T) {
	for _, p := range packages(t) {
		for part := range strings.SplitSeq(strings.TrimPrefix(p.ImportPath, module), "/") {
			if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "models", "misc"}, part) {
				t.Errorf("%s: %q says nothing of what is inside; name the noun", p.ImportPath, part)
			}
		}
	}
}

func TestRoomTableIsConsistent(t *testing.T) {
	for _, r := range rooms {
		if r.reason == "" {
			t.Errorf("%s: a rule needs its reason", r.path)
		}
		if r.imports == everything {
			continue
		}
		for path := range strings.FieldsSeq(r.imports) {
			other, ok := roomOf(module + path)
			switch {
			case !ok || other.path != path:
				t.Errorf("%s may import %s, which is no room", r.path, path)
			case r.layer != test && other.layer == test && strings.HasSuffix(r.path, "test"):
				// A suite is test code, though its file names do not say so.
			case r.layer != test && (other.layer > r.layer || opposite(r, other)):
				t.Errorf("%s may import %s, which is not below it", r.path, path)
			}
		}
	}
}

func checkImport(t *testing.T, p pkg, home room, imported string) {
	t.Helper()
	other, ok := roomOf(imported)
	if !ok || other.path == home.path {
		return
	}
	if home.imports == everything {
		if no, ok := notOf[home.path]; ok && no.refused(other) {
			t.Errorf("%s imports %s: %s", p.ImportPath, imported, no.reason)
		}
		return
	}
	if !slices.Contains(strings.Fields(home.imports), other.path) {
		t.Errorf("%s imports %s, but room %s may import [%s] only: %s", p.ImportPath, imported, home.path, home.imports, home.reason)
	}
}

func checkTestImport(t *testing.T, p pkg, home room, imported string) {
	t.Helper()
	other, ok := roomOf(imported)
	if !ok || other.path == home.path || other.path == "pkg/testkit" {
		return
	}
	if other.layer > home.layer || opposite(home, other) {
		t.Errorf("tests of %s import %s, which is not below room %s: go through pkg/testkit, or move the test up", p.ImportPath, imported, home.path)
	}
}

// opposite says whether the rooms belong to the two planes that meet on a socket only.
func opposite(a, b room) bool {
	return a.layer == controlPlane && b.layer == dataPlane || a.layer == dataPlane && b.layer == controlPlane
}

// roomOf returns the room that a package of ours lies in: the longest path that contains it.
func roomOf(importPath string) (room, bool) {
	var found room
	path, ours := strings.CutPrefix(importPath, module)
	if !ours {
		return found, false
	}
	for _, r := range rooms {
		if (path == r.path || strings.HasPrefix(path, r.path+"/")) && len(r.path) > len(found.path) {
			found = r
		}
	}
	return found, found.path != ""
}

// packages returns all packages of the module.
func packages(t *testing.T) []pkg {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	command.Dir = root
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("decoding what go list says: %v", err)
		}
		all = append(all, p)
	}
}
