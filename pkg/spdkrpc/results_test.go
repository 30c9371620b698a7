// SPDX-License-Identifier: Apache-2.0

package spdkrpc_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// recorded answers one call with what SPDK has answered.
type recorded json.RawMessage

func (r recorded) Call(_ context.Context, _ string, _, result any) error {
	return json.Unmarshal(r, result)
}

// TestResults decodes every recorded result of the methods that return more than true, and looks
// whether what matters has come through.
func TestResults(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	counts := map[string]int{}
	decode := map[string]func(c spdkrpc.Caller) (int, error){
		"spdk_get_version": func(c spdkrpc.Caller) (int, error) {
			v, err := spdkrpc.GetVersion(ctx, c)
			return v.Fields.Major / 26, err
		},
		"rpc_get_methods": func(c spdkrpc.Caller) (int, error) {
			all, err := spdkrpc.GetMethods(ctx, c)
			return len(all), err
		},
		"bdev_get_bdevs": func(c spdkrpc.Caller) (int, error) {
			all, err := spdkrpc.GetBdevs(ctx, c)
			n := 0
			for _, b := range all {
				if b.Name == "" || b.UUID == "" || b.BlockSize == 0 || b.ProductName == "" {
					t.Errorf("incomplete: %+v", b)
				}
				if (b.ProductName == spdkrpc.ProductAio) != (b.Aio().Filename != "") {
					t.Errorf("aio: %+v", b)
				}
				if (b.ProductName == spdkrpc.ProductCrypto) != (b.Crypto().BaseBdevName != "" && b.Crypto().KeyName != "") {
					t.Errorf("crypto: %+v", b)
				}
				if paths := b.Nvme(); (b.ProductName == spdkrpc.ProductNvme) != (len(paths) > 0 && paths[0].NsData.ID > 0 && paths[0].Trid.Subnqn != "") {
					t.Errorf("nvme: %+v", b)
				}
				n++
			}
			return n, err
		},
		"bdev_get_iostat": func(c spdkrpc.Caller) (int, error) {
			s, err := spdkrpc.Version{}.Features().GetIostat(ctx, c, []string{"x"})
			return len(s.Bdevs), err
		},
		"bdev_nvme_get_path_iostat": func(c spdkrpc.Caller) (int, error) {
			s, err := spdkrpc.GetPathIostat(ctx, c, "x")
			return len(s), err
		},
		"notify_get_notifications": func(c spdkrpc.Caller) (int, error) {
			s, err := spdkrpc.NotifyGetNotifications{}.Do(ctx, c)
			return len(s), err
		},
		"bdev_nvme_get_controllers": func(c spdkrpc.Caller) (int, error) {
			all, err := spdkrpc.GetNvmeControllers(ctx, c)
			for _, controller := range all {
				for _, path := range controller.Ctrlrs {
					if controller.Name == "" || path.State == "" || path.Trid.Traddr == "" || path.Host.NQN == "" {
						t.Errorf("incomplete: %+v", controller)
					}
				}
			}
			return len(all), err
		},
		"bdev_nvme_attach_controller": func(c spdkrpc.Caller) (int, error) {
			names, err := spdkrpc.NvmeAttach{}.Do(ctx, c)
			return len(names), err
		},
		"accel_crypto_keys_get": func(c spdkrpc.Caller) (int, error) {
			all, err := spdkrpc.GetAccelCryptoKeys(ctx, c)
			for _, k := range all {
				if k.Cipher == "" || len(k.Key) < 32 || len(k.Key2) < 32 {
					t.Errorf("incomplete: %+v", k)
				}
				if text := fmt.Sprintf("%v %+v %#v %s %q %x", k, k, k, k.Key, k.Key, k.Key2); strings.Contains(strings.ToLower(text), strings.ToLower(string(k.Key))) {
					t.Errorf("a key is printed: %s", text)
				}
			}
			return len(all), err
		},
		"keyring_get_keys": func(c spdkrpc.Caller) (int, error) {
			all, err := spdkrpc.GetKeyringKeys(ctx, c)
			for _, k := range all {
				if k.Module != "keyring_file" || k.Refcnt == 0 || k.Removed != (k.Path == "") {
					t.Errorf("incomplete: %+v", k)
				}
			}
			return len(all), err
		},
		"vhost_get_controllers": func(c spdkrpc.Caller) (int, error) {
			all, err := spdkrpc.GetVhostControllers(ctx, c)
			for _, v := range all {
				if v.Ctrlr == "" || v.Socket == "" || (v.BackendSpecific.Block == nil) == (v.BackendSpecific.Scsi == nil) {
					t.Errorf("incomplete: %+v", v)
				}
			}
			return len(all), err
		},
		"nvmf_get_transports": func(c spdkrpc.Caller) (int, error) {
			all, err := spdkrpc.GetNvmfTransports(ctx, c)
			return len(all), err
		},
		"nvmf_get_subsystems": func(c spdkrpc.Caller) (int, error) {
			all, err := spdkrpc.GetNvmfSubsystems(ctx, c)
			n := 0
			for _, s := range all {
				if s.NQN == "" || s.Subtype == "NVMe" && (s.ModelNumber == "" || s.MaxNamespaces == 0 || s.MaxCntlid == 0) {
					t.Errorf("incomplete: %+v", s)
				}
				for _, ns := range s.Namespaces {
					if ns.NSID == 0 || ns.BdevName == "" || len(ns.NGUID) != 32 || len(ns.UUID) != 36 {
						t.Errorf("incomplete: %+v", ns)
					}
				}
				n++
			}
			return n, err
		},
		"nvmf_subsystem_add_ns": func(c spdkrpc.Caller) (int, error) {
			nsid, err := spdkrpc.NvmfAddNs{}.Do(ctx, c)
			return int(nsid), err
		},
		"nvmf_subsystem_get_qpairs": func(c spdkrpc.Caller) (int, error) {
			all, err := spdkrpc.GetNvmfQpairs(ctx, c, "x")
			for _, q := range all {
				if q.Cntlid == 0 || q.ListenAddress.Traddr == "" {
					t.Errorf("incomplete: %+v", q)
				}
			}
			return len(all), err
		},
	}
	files, err := filepath.Glob("../../tests/spdk/testdata/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			var x struct {
				Step    string
				Request struct {
					Method string
					Params json.RawMessage
				}
				Response struct{ Result json.RawMessage }
			}
			if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			read, ok := decode[x.Request.Method]
			if !ok || x.Response.Result == nil {
				continue
			}
			n, err := read(recorded(x.Response.Result))
			if err != nil {
				t.Errorf("%s, %s: %v", name, x.Step, err)
			}
			counts[x.Request.Method] += n
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
	}
	for method := range decode {
		if counts[method] == 0 {
			t.Errorf("%s: nothing was found in the recordings", method)
		}
	}
	t.Log(counts)
}

// TestFeatures follows the releases.
func TestFeatures(t *testing.T) {
	t.Parallel()
	all := spdkrpc.Features{Keyring: true, HostsOnce: true, AioUUID: true, TCPConnectTimeout: true, IostatNames: true}
	for _, c := range []struct {
		major, minor int
		want         spdkrpc.Features
	}{
		{24, 1, spdkrpc.Features{}},
		{24, 5, spdkrpc.Features{Keyring: true}},
		{24, 9, spdkrpc.Features{Keyring: true, HostsOnce: true, AioUUID: true}},
		{25, 1, spdkrpc.Features{Keyring: true, HostsOnce: true, AioUUID: true}},
		{25, 5, spdkrpc.Features{Keyring: true, HostsOnce: true, AioUUID: true, TCPConnectTimeout: true}},
		{25, 9, spdkrpc.Features{Keyring: true, HostsOnce: true, AioUUID: true, TCPConnectTimeout: true}},
		{26, 1, all},
		{26, 9, all},
		{0, 0, all},
	} {
		var v spdkrpc.Version
		v.Fields.Major, v.Fields.Minor = c.major, c.minor
		if got := v.Features(); got != c.want {
			t.Errorf("%d.%d: %+v", c.major, c.minor, got)
		}
	}
}

// iostat is a Caller that knows two bdevs, as SPDK before v26.01.
type iostat struct{ calls []string }

func (c *iostat) Call(_ context.Context, _ string, params, result any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	c.calls = append(c.calls, string(raw))
	return json.Unmarshal([]byte(`{"tick_rate":5,"bdevs":[{"name":"a","num_read_ops":1},{"name":"b","num_read_ops":2}]}`), result)
}

// TestManyNames asks for more names than fit into one request of an SPDK of v26.01.
func TestManyNames(t *testing.T) {
	t.Parallel()
	c := &iostat{}
	names := make([]string, 2000)
	for i := range names {
		names[i] = strings.Repeat("x", i%64)
	}
	got, err := spdkrpc.Features{IostatNames: true}.GetIostat(t.Context(), c, names)
	if err != nil || len(got.Bdevs) != 2*len(c.calls) || len(c.calls) < 3 {
		t.Errorf("%d calls, %v", len(c.calls), err)
	}
	sum := 0
	for _, call := range c.calls {
		n := strings.Count(call, ",") + 1
		if sum += n; n > 1000 || len(call) > 30<<10 {
			t.Errorf("%d names in %d bytes", n, len(call))
		}
	}
	if sum != len(names) {
		t.Errorf("%d names asked for", sum)
	}
}

// TestOldIostat asks an old SPDK for some bdevs.
func TestOldIostat(t *testing.T) {
	t.Parallel()
	c := &iostat{}
	var old spdkrpc.Features
	got, err := old.GetIostat(t.Context(), c, []string{"b", "a", "b"})
	if err != nil || len(got.Bdevs) != 3 || got.Bdevs[0].NumReadOps != 2 || got.Bdevs[1].Name != "a" || got.TickRate != 5 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err = old.GetIostat(t.Context(), c, []string{"b", "x"}); spdkrpc.Refusal(err) == nil {
		t.Errorf("an unknown name: %v", err)
	}
	if _, err = old.GetIostat(t.Context(), c, []string{"b"}); err != nil || c.calls[2] != `{"name":"b"}` {
		t.Errorf("%v, %v", c.calls, err)
	}
}
