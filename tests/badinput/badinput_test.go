// SPDX-License-Identifier: Apache-2.0

// Package badinput_test sends what must be refused to a running bridge, over REST and so through gRPC,
// and checks that the answer says what is wrong, and that nothing has changed.
package badinput_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client speaks REST with a bridge.
type client struct {
	t    *testing.T
	base string
	http http.Client
}

// answer is what came back: the HTTP status and the body, whether resource or google.rpc.Status.
type answer struct {
	status int
	body   map[string]any
	raw    string
}

func (c *client) do(method, path string, body any) answer {
	c.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		reader = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, reader)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, raw: string(raw)}
	if err := json.Unmarshal(raw, &a.body); err != nil {
		c.t.Fatalf("%s %s answers no JSON: %s", method, path, raw)
	}
	return a
}

// fields lists the fields that an error names.
func (a answer) fields() []string {
	var names []string
	details, _ := a.body["details"].([]any)
	for _, d := range details {
		detail, _ := d.(map[string]any)
		violations, _ := detail["fieldViolations"].([]any)
		for _, v := range violations {
			violation, _ := v.(map[string]any)
			names = append(names, fmt.Sprint(violation["field"]))
		}
	}
	return names
}

// o is a JSON object.
type o = map[string]any

// state lists everything that the bridge serves, as text.
func (c *client) state() string {
	c.t.Helper()
	var all strings.Builder
	for _, collection := range []string{
		"nullVolumes", "mallocVolumes", "aioVolumes", "nvmeRemoteControllers", "nvmeSubsystems",
		"nvmeRemoteControllers/node-1/nvmePaths", "nvmeSubsystems/web-1/nvmeControllers", "nvmeSubsystems/web-1/nvmeNamespaces",
	} {
		all.WriteString(c.do(http.MethodGet, "/v1/"+collection, nil).raw)
	}
	return all.String()
}

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "odd.img")
	if err := os.WriteFile(odd, make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	dp := testkit.DataPlane(t)
	b := testkit.Bridge(t, testkit.BridgeConfig{SPDK: dp.Addr(), Store: "bolt://" + filepath.Join(dir, "state.db")})
	c := &client{t: t, base: "http://" + b.HTTPAddr(), http: http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}

	port := fmt.Sprint(testkit.FreePort(t))
	endpoint := func(traddr, trsvcid, adrfam string) o {
		return o{"spec": o{"trtype": "NVME_TRANSPORT_TYPE_TCP", "fabricsId": o{"traddr": traddr, "trsvcid": trsvcid, "adrfam": "NVME_ADDRESS_FAMILY_" + adrfam}}}
	}
	path := func(trtype, traddr string, trsvcid int, adrfam, subnqn string) o {
		return o{"trtype": "NVME_TRANSPORT_TYPE_" + trtype, "traddr": traddr, "fabrics": o{"trsvcid": trsvcid, "adrfam": "NVME_ADDRESS_FAMILY_" + adrfam, "subnqn": subnqn}}
	}
	const nqn = "nqn.2024-01.io.example:web-1"
	ns := func(ref string, more o) o {
		spec := o{"volumeNameRef": ref}
		maps.Copy(spec, more)
		return o{"spec": spec}
	}
	volume := o{"blockSize": 512, "blocksCount": 64}
	for _, good := range []struct {
		path string
		body o
	}{
		{"nullVolumes?null_volume_id=vol-1", volume},
		{"nullVolumes?null_volume_id=vol-2", volume},
		{"nvmeRemoteControllers?nvme_remote_controller_id=node-1", o{"multipath": "NVME_MULTIPATH_MULTIPATH"}},
		{"nvmeSubsystems?nvme_subsystem_id=web-1", o{"spec": o{"nqn": nqn, "maxNamespaces": 8}}},
		{"nvmeSubsystems/web-1/nvmeControllers?nvme_controller_id=ctrl-1", endpoint("127.0.0.1", port, "IPV4")},
		{"nvmeSubsystems/web-1/nvmeNamespaces?nvme_namespace_id=disk-1", ns("nullVolumes/vol-1", nil)},
	} {
		if a := c.do(http.MethodPost, "/v1/"+good.path, good.body); a.status != http.StatusOK {
			t.Fatalf("POST %s: %s", good.path, a.raw)
		}
	}
	token, _ := c.do(http.MethodGet, "/v1/nullVolumes?page_size=1", nil).body["nextPageToken"].(string)
	if token == "" {
		t.Fatal("a list of two, one a page, has no next page")
	}

	const (
		post, get, patch, del = http.MethodPost, http.MethodGet, http.MethodPatch, http.MethodDelete
		web                   = "nvmeSubsystems/web-1/"
	)
	before := c.state()
	for _, row := range []struct {
		what, method, path string
		body               any
		status             int
		field              string // that the error must name; "" for none
	}{
		{"unknown name", get, "nullVolumes/none", nil, 404, ""},
		{"malformed name", get, "nullVolumes/a$b", nil, 400, "name"},
		{"unknown collection", get, "colours/red", nil, 404, ""},
		{"malformed id", post, "nullVolumes?null_volume_id=Vol_3", volume, 400, "null_volume_id"},
		{"short id", post, "nullVolumes?null_volume_id=v", volume, 400, "null_volume_id"},
		{"id taken by another volume", post, "nullVolumes?null_volume_id=vol-1", o{"blockSize": 4096, "blocksCount": 64}, 409, ""},
		{"id taken by a volume of another kind", post, "mallocVolumes?malloc_volume_id=vol-1", volume, 409, ""},
		{"nothing to create", post, "nullVolumes?null_volume_id=vol-3", nil, 400, "null_volume.block_size"},
		{"a method that there is not", http.MethodPut, "nullVolumes/vol-1", volume, 405, ""},
		{"block size 0", post, "nullVolumes?null_volume_id=vol-3", o{"blocksCount": 64}, 400, "null_volume.block_size"},
		{"odd block size", post, "mallocVolumes?malloc_volume_id=vol-3", o{"blockSize": 1000, "blocksCount": 64}, 400, "malloc_volume.block_size"},
		{"more memory than there is", post, "mallocVolumes?malloc_volume_id=vol-3", o{"blockSize": 4096, "blocksCount": "1125899906842624"}, 429, ""},
		{"a file that is not there", post, "aioVolumes?aio_volume_id=vol-3", o{"blockSize": 512, "filename": filepath.Join(dir, "none")}, 400, ""},
		{"a file of half blocks", post, "aioVolumes?aio_volume_id=vol-3", o{"blockSize": 512, "filename": odd}, 400, ""},
		{"a file without block size", post, "aioVolumes?aio_volume_id=vol-3", o{"filename": odd}, 400, ""},
		{"bad uuid", post, "nullVolumes?null_volume_id=vol-3", o{"blockSize": 512, "blocksCount": 64, "uuid": "x"}, 400, "null_volume.uuid"},
		{"unknown field", post, "nullVolumes?null_volume_id=vol-3", o{"blockSize": 512, "blocksCount": 64, "colour": "red"}, 400, ""},
		{"a field of the wrong type", post, "nullVolumes?null_volume_id=vol-3", o{"blockSize": "large"}, 400, ""},
		{"no JSON", post, "nullVolumes?null_volume_id=vol-3", []byte("{"), 400, ""},
		{"a request of 10 MiB", post, "nullVolumes?null_volume_id=vol-3", []byte(`{"uuid":"` + strings.Repeat("x", 10<<20) + `"}`), 413, ""},

		{"empty NQN", post, "nvmeSubsystems?nvme_subsystem_id=web-2", o{"spec": o{}}, 400, "nvme_subsystem.spec.nqn"},
		{"long NQN", post, "nvmeSubsystems?nvme_subsystem_id=web-2", o{"spec": o{"nqn": nqn + strings.Repeat("x", 224)}}, 400, "nvme_subsystem.spec.nqn"},
		{"NQN without nqn.", post, "nvmeSubsystems?nvme_subsystem_id=web-2", o{"spec": o{"nqn": "2024-01.io.example:web-2"}}, 400, "nvme_subsystem.spec.nqn"},
		{"NQN taken", post, "nvmeSubsystems?nvme_subsystem_id=web-2", o{"spec": o{"nqn": nqn}}, 409, ""},
		{"a PSK, which has no effect yet", post, "nvmeSubsystems?nvme_subsystem_id=web-2", o{"spec": o{"nqn": nqn + "2", "psk": "c2VjcmV0"}}, 400, "nvme_subsystem.spec.psk"},

		{"parent that does not exist", post, "nvmeSubsystems/none/nvmeNamespaces?nvme_namespace_id=disk-2", ns("nullVolumes/vol-2", nil), 404, ""},
		{"unknown volume", post, web + "nvmeNamespaces?nvme_namespace_id=disk-2", ns("nullVolumes/none", nil), 404, ""},
		{"unknown bdev", post, web + "nvmeNamespaces?nvme_namespace_id=disk-2", ns("none", nil), 404, ""},
		{"a reference to what is no volume", post, web + "nvmeNamespaces?nvme_namespace_id=disk-2", ns("nvmeSubsystems/web-1", nil), 400, ""},
		{"a volume that is none", post, web + "nvmeNamespaces?nvme_namespace_id=disk-2", ns("nvmeSubsystems/web-1", nil), 400, "nvme_namespace.spec.volume_name_ref"},
		{"no volume", post, web + "nvmeNamespaces?nvme_namespace_id=disk-2", ns("", nil), 400, "nvme_namespace.spec.volume_name_ref"},
		{"volume in use", post, web + "nvmeNamespaces?nvme_namespace_id=disk-2", ns("nullVolumes/vol-1", nil), 400, ""},
		{"nsid taken", post, web + "nvmeNamespaces?nvme_namespace_id=disk-2", ns("nullVolumes/vol-2", o{"hostNsid": 1}), 409, ""},
		{"nsid out of range", post, web + "nvmeNamespaces?nvme_namespace_id=disk-2", ns("nullVolumes/vol-2", o{"hostNsid": 9}), 400, "nvme_namespace.spec.host_nsid"},
		{"negative nsid", post, web + "nvmeNamespaces?nvme_namespace_id=disk-2", ns("nullVolumes/vol-2", o{"hostNsid": -1}), 400, "nvme_namespace.spec.host_nsid"},
		{"bad nguid", post, web + "nvmeNamespaces?nvme_namespace_id=disk-2", ns("nullVolumes/vol-2", o{"nguid": "12"}), 400, "nvme_namespace.spec.nguid"},

		{"port 0", post, web + "nvmeControllers?nvme_controller_id=ctrl-2", endpoint("127.0.0.1", "0", "IPV4"), 400, "nvme_controller.spec.fabrics_id.trsvcid"},
		{"port 70000", post, web + "nvmeControllers?nvme_controller_id=ctrl-2", endpoint("127.0.0.1", "70000", "IPV4"), 400, "nvme_controller.spec.fabrics_id.trsvcid"},
		{"address of another family", post, web + "nvmeControllers?nvme_controller_id=ctrl-2", endpoint("127.0.0.1", "4420", "IPV6"), 400, "nvme_controller.spec.fabrics_id.traddr"},
		{"address of another machine", post, web + "nvmeControllers?nvme_controller_id=ctrl-2", endpoint("192.0.2.1", "4420", "IPV4"), 400, ""},
		{"address taken", post, web + "nvmeControllers?nvme_controller_id=ctrl-2", endpoint("127.0.0.1", port, "IPV4"), 409, ""},
		{
			"PCIe controller on fabrics", post, web + "nvmeControllers?nvme_controller_id=ctrl-2",
			o{"spec": o{"trtype": "NVME_TRANSPORT_TYPE_PCIE", "fabricsId": o{"traddr": "127.0.0.1", "trsvcid": "4420"}}},
			400, "nvme_controller.spec.fabrics_id",
		},
		{"PCIe path with fabrics fields", post, "nvmeRemoteControllers/node-1/nvmePaths?nvme_path_id=path-1", path("PCIE", "0000:01:00.0", 4420, "IPV4", nqn), 400, "nvme_path.fabrics"},
		{"path to port 0", post, "nvmeRemoteControllers/node-1/nvmePaths?nvme_path_id=path-1", path("TCP", "127.0.0.1", 0, "IPV4", nqn), 400, "nvme_path.fabrics.trsvcid"},
		{"path to an address of another family", post, "nvmeRemoteControllers/node-1/nvmePaths?nvme_path_id=path-1", path("TCP", "::1", 4420, "IPV4", nqn), 400, "nvme_path.traddr"},
		{"path to a target that is not there", post, "nvmeRemoteControllers/node-1/nvmePaths?nvme_path_id=path-1", path("TCP", "127.0.0.1", 1, "IPV4", nqn), 503, ""},

		{"delete of what is in use", del, "nullVolumes/vol-1", nil, 400, ""},
		{"delete of what has children", del, "nvmeSubsystems/web-1", nil, 400, ""},
		{"delete of what is not there", del, "nullVolumes/none", nil, 404, ""},
		{"update of what is not there", patch, "nullVolumes/none?update_mask=blocks_count", volume, 404, ""},
		{"update with an unknown path", patch, "nullVolumes/vol-1?update_mask=colour", volume, 400, "update_mask"},
		{"update with an empty path", patch, "nullVolumes/vol-1?update_mask=blocks_count,,", volume, 400, "update_mask"},
		{"update of a fixed field", patch, "nullVolumes/vol-1?update_mask=block_size", o{"blockSize": 4096}, 400, "null_volume.block_size"},
		{"shrinking", patch, "nullVolumes/vol-1?update_mask=blocks_count", o{"blocksCount": 8}, 400, ""},
		{"page token of another collection", get, "mallocVolumes?page_token=" + token, nil, 400, "page_token"},
		{"damaged page token", get, "nullVolumes?page_token=" + token + "x", nil, 400, "page_token"},
		{"negative page size", get, "nullVolumes?page_size=-1", nil, 400, "page_size"},
		{"list below what does not exist", get, "nvmeSubsystems/none/nvmeNamespaces", nil, 404, ""},
	} {
		a := c.do(row.method, "/v1/"+row.path, row.body)
		switch {
		case a.status != row.status:
			t.Errorf("%s: want %d, got %d: %s", row.what, row.status, a.status, a.raw)
		case row.field != "" && !slices.Contains(a.fields(), row.field):
			t.Errorf("%s: want field %s named, got %v: %s", row.what, row.field, a.fields(), a.raw)
		case a.body["message"] == nil || len(fmt.Sprint(a.body["message"])) < 10:
			t.Errorf("%s: the answer says nothing: %s", row.what, a.raw)
		}
		if now := c.state(); now != before {
			t.Fatalf("%s has changed something:\n%s\nbefore:\n%s", row.what, now, before)
		}
	}
}
