// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

var rewrite = flag.Bool("rewrite", false, "write golden files anew") //nolint:gochecknoglobals // a flag of the tests

// TestSent pins every call that goes out for one disk of each kind, from the first connection to the
// last delete. A reviewer sees here what SPDK is told.
func TestSent(t *testing.T) {
	t.Parallel()
	keys := t.TempDir()
	p := newProxy(t, testkit.DataPlane(t, "--vhost-dir", testkit.SocketDir(t)).Socket())
	d := withKeys(t, p.socket, keys)
	var out bytes.Buffer
	from := 0
	port, file := testkit.FreePort(t), t.TempDir()+"/file"
	hide := strings.NewReplacer(strconv.Itoa(port), "@PORT@", file, "@FILE@", keys, "@KEYS@", fileOf(p.socket), "@DATAPLANE@")
	// section writes down what was sent since the last one.
	section := func(title string) {
		fmt.Fprintf(&out, "# %s\n", title)
		all := p.calls("")
		var lines []string
		for _, c := range all[from:] {
			if c.Method == "notify_get_notifications" {
				continue // by the clock
			}
			line, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, hide.Replace(string(line))+"\n")
		}
		// Looks that go out together do so in any order.
		for i := 1; i < len(lines); i++ {
			if look := `{"method":"bdev_get_bdevs"`; strings.HasPrefix(lines[i], look) && strings.HasPrefix(lines[i-1], look) {
				slices.Sort(lines[i-1 : i+1])
			}
		}
		out.WriteString(strings.Join(lines, ""))
		from = len(all)
	}
	// The hello sends several calls at once, in any order.
	from = len(p.calls(""))

	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	address := tcp
	address.Trsvcid = strconv.Itoa(port)
	sub := &driver.Subsystem{NQN: someNQN, SerialNumber: "SN1", ModelNumber: "model", MaxNamespaces: 32, MinCntlid: 1, MaxCntlid: 100}
	null := &driver.Bdev{Name: "null0", Kind: driver.BdevNull, BlockSizeBytes: 4096, Blocks: 256, UUID: someUUID}
	metadata := &driver.Bdev{
		Name: "metadata0", Kind: driver.BdevMalloc, BlockSizeBytes: 512, Blocks: 2048, MetadataBytes: 8, UUID: strings.ReplaceAll(someUUID, "1", "4"),
	}
	grown, open := *null, *sub
	grown.Blocks, open.AllowAnyHost = 512, true
	host := "nqn.2014-08.org.nvmexpress:uuid:" + someUUID
	for _, step := range []driver.Step{
		{Op: driver.Create, Object: null},
		{Op: driver.Update, Object: &grown, From: null},
		{Op: driver.Create, Object: &driver.Bdev{
			Name: "malloc0", Kind: driver.BdevMalloc, BlockSizeBytes: 512, Blocks: 2048, UUID: strings.ReplaceAll(someUUID, "1", "2"),
		}},
		{Op: driver.Create, Object: metadata},
		{Op: driver.Delete, Object: metadata},
		{Op: driver.Create, Object: &driver.Bdev{
			Name: "aio0", Kind: driver.BdevAio, BlockSizeBytes: 512, Filename: file, UUID: strings.ReplaceAll(someUUID, "1", "3"),
		}},
		{Op: driver.Update, Object: &driver.Bdev{Name: "aio0", Kind: driver.BdevAio, Filename: file}, From: &driver.Bdev{
			Name: "aio0", Kind: driver.BdevAio, Filename: file,
		}},
		{Op: driver.Create, Object: sub},
		{Op: driver.Update, Object: &open, From: sub},
		{Op: driver.Update, Object: sub, From: &open},
		{Op: driver.Create, Object: &driver.Host{Subsystem: someNQN, NQN: host}},
		{Op: driver.Create, Object: &driver.Listener{Subsystem: someNQN, Address: address}},
		{Op: driver.Create, Object: &driver.Namespace{
			Subsystem: someNQN, NSID: 7, Bdev: "malloc0", UUID: someUUID, NGUID: strings.ReplaceAll(someUUID, "-", ""), EUI64: "0123456789abcdef",
		}},
		{Op: driver.Create, Object: &driver.Path{
			Controller: "nvme0", Address: address, SubsystemNQN: someNQN, HostNQN: host, SourceTraddr: "127.0.0.1",
			Multipath: driver.MultipathFailover, IOQueues: 2, HeaderDigest: true, DataDigest: true,
		}},
		{Op: driver.Delete, Object: &driver.Path{Controller: "nvme0", Address: address, SubsystemNQN: someNQN}},
		{Op: driver.Delete, Object: &driver.Namespace{Subsystem: someNQN, NSID: 7}},
		{Op: driver.Delete, Object: &driver.Listener{Subsystem: someNQN, Address: address}},
		{Op: driver.Delete, Object: &driver.Host{Subsystem: someNQN, NQN: host}},
		{Op: driver.Delete, Object: sub},
		{Op: driver.Delete, Object: &driver.Bdev{Name: "aio0", Kind: driver.BdevAio}},
		{Op: driver.Create, Object: &driver.CryptoKey{
			Name: "key0", Cipher: driver.CipherAESXTS, Data: secret.FromString("0123456789abcdef"), Tweak: secret.FromString("fedcba9876543210"),
		}},
		{Op: driver.Create, Object: &driver.Bdev{Name: "crypto0", Kind: driver.BdevCrypto, Base: "malloc0", CryptoKey: "key0"}},
		{Op: driver.Delete, Object: &driver.Bdev{Name: "crypto0", Kind: driver.BdevCrypto}},
		{Op: driver.Delete, Object: &driver.CryptoKey{Name: "key0"}},
		{Op: driver.Create, Object: &driver.Limits{Bdev: "malloc0", IOPS: 1000, MiBs: 4, ReadMiBs: 2, WriteMiBs: 3}},
		{Op: driver.Delete, Object: &driver.Limits{Bdev: "malloc0"}},
		{Op: driver.Create, Object: &driver.TLSKey{Name: "opi-bridge:psk", PSK: secret.FromString("a key")}},
		{Op: driver.Delete, Object: &driver.TLSKey{Name: "opi-bridge:psk"}},
		{Op: driver.Create, Object: &driver.VirtioBlk{Name: "blk0", Bdev: "malloc0"}},
		{Op: driver.Delete, Object: &driver.VirtioBlk{Name: "blk0"}},
		{Op: driver.Create, Object: &driver.VirtioScsi{Name: "scsi0"}},
		{Op: driver.Create, Object: &driver.VirtioScsiTarget{Controller: "scsi0", Slot: 3, Bdev: "malloc0"}},
		{Op: driver.Create, Object: &driver.VirtioScsiSocket{Controller: "scsi0"}},
		{Op: driver.Delete, Object: &driver.VirtioScsiTarget{Controller: "scsi0", Slot: 3}},
		{Op: driver.Delete, Object: &driver.VirtioScsi{Name: "scsi0"}},
		{Op: driver.Delete, Object: &driver.Bdev{Name: "malloc0", Kind: driver.BdevMalloc}},
		{Op: driver.Delete, Object: null},
	} {
		if err := d.Apply(t.Context(), []driver.Step{step})[0]; err != nil {
			t.Errorf("%s %s: %v", step.Op, step.Object.Key(), err)
		}
		section(hide.Replace(step.Op.String() + " " + step.Object.Key().String()))
	}

	const golden = "testdata/sent.golden"
	if *rewrite {
		if err := errors.Join(os.MkdirAll("testdata", 0o750), os.WriteFile(golden, out.Bytes(), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("what is sent has changed; see with -rewrite and git diff:\n%s", out.String())
	}
}

// fileOf returns the part of the names of key files that tells which data plane they are for.
func fileOf(socket string) string {
	sum := sha256.Sum256([]byte("unix://" + socket))
	return hex.EncodeToString(sum[:4])
}
