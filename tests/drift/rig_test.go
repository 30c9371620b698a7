// SPDX-License-Identifier: Apache-2.0

// Package drift_test has somebody else change the data plane behind the bridge's back, and takes away
// what the bridge needs, one thing at a time: what can be put back is put back, the rest is shown with
// its cause, and nothing else suffers.
package drift_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hand is somebody's hand on a data plane: raw JSON-RPC.
type hand struct {
	t      *testing.T
	socket string
}

// ask makes one call.
func (h hand) ask(method, params string) (json.RawMessage, error) {
	conn, err := (&net.Dialer{}).DialContext(h.t.Context(), "unix", h.socket)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if params == "" {
		params = "{}"
	}
	if _, err := fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params); err != nil {
		return nil, err
	}
	var answer struct {
		Result json.RawMessage `json:"result"`
		Error  *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.NewDecoder(conn).Decode(&answer); err != nil {
		return nil, err
	}
	if e := answer.Error; e != nil {
		return nil, fmt.Errorf("%s %s: %d %s", method, params, e.Code, e.Message)
	}
	return answer.Result, nil
}

// do makes calls, each given by its method and parameters, that must succeed.
func (h hand) do(calls ...string) {
	h.t.Helper()
	for i := 0; i < len(calls); i += 2 {
		if _, err := h.ask(calls[i], calls[i+1]); err != nil {
			h.t.Fatalf("somebody's hand: %v", err)
		}
	}
}

// nudge makes the data plane tell the bridge that something has happened to its bdevs, so that the
// test need not wait for the next audit.
func (h hand) nudge() {
	h.t.Helper()
	h.do("bdev_null_create", `{"name":"nudge","block_size":512,"num_blocks":8}`, "bdev_null_delete", `{"name":"nudge"}`)
}

// rig is a bridge on a data plane, and a storage node that it attaches to.
type rig struct {
	t                  *testing.T
	dir, vhosts        string
	dataPlane, storage *testkit.DataPlaneProcess
	bridge             *testkit.BridgeProcess
	conn               *grpc.ClientConn
	hand, far          hand
	// near are ports for the bridge to listen at, ports those of the storage node.
	near, ports [3]int
}

const (
	hostNQN = "nqn.2024-01.io.example:host"
	dpuNQN  = "nqn.2024-01.io.example:dpu"
)

func newRig(t *testing.T, flags ...string) *rig {
	t.Helper()
	return newRigAt(t, testkit.SocketDir(t), flags...)
}

// newRigAt starts a rig whose data plane makes vhost sockets in that directory.
func newRigAt(t *testing.T, vhosts string, flags ...string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), vhosts: vhosts}
	for i := range r.near {
		r.near[i], r.ports[i] = testkit.FreePort(t), testkit.FreePort(t)
	}
	r.storage = testkit.DataPlane(t)
	r.far = hand{t, r.storage.Socket()}
	r.exportStorage()
	r.dataPlane = testkit.DataPlane(t, "--vhost-dir", r.vhosts)
	r.hand = hand{t, r.dataPlane.Socket()}
	r.bridge = testkit.Bridge(t, testkit.BridgeConfig{
		SPDK: r.dataPlane.Addr(), Store: "bolt://" + filepath.Join(r.dir, "state.db"), WaitFor: "/healthz",
		Flags: append([]string{
			"--secret-key-file", filepath.Join(r.dir, "seal.key"), "--key-dir", filepath.Join(r.dir, "keys"),
		}, flags...),
	})
	conn, err := grpc.NewClient("dns:///"+r.bridge.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	r.must(err)
	t.Cleanup(func() { _ = conn.Close() })
	r.conn = conn
	testkit.Eventually(t, "a new bridge is ready", func() error { return r.whole() })
	return r
}

// exportStorage makes the storage node export three volumes, each in a subsystem of its own with three
// ports.
func (r *rig) exportStorage() {
	r.t.Helper()
	r.far.do("nvmf_create_transport", `{"trtype":"TCP"}`)
	for n := 1; n <= 3; n++ {
		r.far.do("nvmf_create_subsystem", fmt.Sprintf(`{"nqn":%q,"allow_any_host":true,"serial_number":"STORAGE%d","max_namespaces":8}`, storage(n), n))
		r.exportNamespace(n, storageBlocks)
		for _, port := range r.ports {
			r.far.do("nvmf_subsystem_add_listener", listener(storage(n), port))
		}
	}
}

// storageBlocks is how many blocks the volumes of the storage node have.
const storageBlocks = 8192

// storage returns the NQN of a subsystem of the storage node.
func storage(n int) string { return fmt.Sprintf("nqn.2024-01.io.example:storage-%d", n) }

// exportNamespace puts a volume of that many blocks into a subsystem of the storage node.
func (r *rig) exportNamespace(n, blocks int) {
	r.t.Helper()
	r.far.do(
		"bdev_malloc_create", fmt.Sprintf(`{"name":"s%d","block_size":512,"num_blocks":%d,"uuid":"00000000-0000-4000-8000-00000000000%d"}`, n, blocks, n),
		"nvmf_subsystem_add_ns", fmt.Sprintf(`{"nqn":%q,"namespace":{"nsid":1,"bdev_name":"s%d"}}`, storage(n), n))
}

// listener returns the parameters of a call about a listener.
func listener(nqn string, port int) string {
	return fmt.Sprintf(`{"nqn":%q,"listen_address":{"trtype":"TCP","adrfam":"IPv4","traddr":"127.0.0.1","trsvcid":"%d"}}`, nqn, port)
}

// path returns the parameters of a call about a path of a controller to subsystem n of the storage node.
func (r *rig) path(controller string, n, port int, more string) string {
	return fmt.Sprintf(`{"name":%q,"trtype":"TCP","adrfam":"IPv4","traddr":"127.0.0.1","trsvcid":"%d","subnqn":%q%s}`,
		controller, r.ports[port], storage(n), more)
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// whole returns nil when everything is as wanted.
func (r *rig) whole() error {
	s, err := r.status()
	if err != nil {
		return err
	}
	if !s.GetReady() || !s.GetDataPlane().GetSettled() || s.GetNotReadyCount() > 0 {
		list, err := bridgev1.NewBridgeServiceClient(r.conn).ListResourceStatus(r.t.Context(), &bridgev1.ListResourceStatusRequest{NotReadyOnly: true})
		return errors.Join(err, fmt.Errorf("not as wanted: %v, data plane %v", list.GetResources(), s.GetDataPlane()))
	}
	return nil
}

func (r *rig) status() (*bridgev1.Status, error) {
	return bridgev1.NewBridgeServiceClient(r.conn).GetStatus(r.t.Context(), &bridgev1.GetStatusRequest{})
}

func (r *rig) resource(name string) (*bridgev1.ResourceStatus, error) {
	return bridgev1.NewBridgeServiceClient(r.conn).GetResourceStatus(r.t.Context(), &bridgev1.GetResourceStatusRequest{Name: name})
}

// file makes a file of that many blocks and returns its path.
func (r *rig) file(name string, blocks int64) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	r.must(os.WriteFile(path, nil, 0o600))
	r.must(os.Truncate(path, blocks*512))
	return path
}

// rest makes a request of the REST API.
func (r *rig) rest(verb, path, body string) error {
	_, err := r.ask(verb, path, body)
	return err
}

// ask makes a request of the REST API and returns the answer.
func (r *rig) ask(verb, path, body string) (string, error) {
	req, err := http.NewRequestWithContext(r.t.Context(), verb, "http://"+r.bridge.HTTPAddr()+"/v1/"+path, bytes.NewBufferString(body))
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", verb, path, resp.Status, answer)
	}
	return string(answer), err
}

// create makes the resource of that name.
func (r *rig) create(name, body string) error {
	collection, id := path.Split(name)
	var field strings.Builder
	for _, c := range strings.TrimSuffix(path.Base(collection), "s") + "Id" {
		if 'A' <= c && c <= 'Z' {
			field.WriteByte('_')
			c += 'a' - 'A'
		}
		field.WriteRune(c)
	}
	return r.rest(http.MethodPost, strings.TrimSuffix(collection, "/")+"?"+field.String()+"="+id, body)
}

func (r *rig) mustCreate(name, body string) {
	r.t.Helper()
	r.must(r.create(name, body))
}

func (r *rig) remove(name string) error { return r.rest(http.MethodDelete, name, "") }

// metrics returns the bridge's metrics: values by series.
func (r *rig) metrics() (map[string]float64, error) {
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.bridge.HTTPAddr()+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(body)) {
		if series, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && series != "#" {
			if all[series], err = strconv.ParseFloat(value, 64); err != nil {
				return nil, fmt.Errorf("metrics: %q: %w", line, err)
			}
		}
	}
	return all, nil
}
