// SPDX-License-Identifier: Apache-2.0

package replay_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const dpuNQN = "nqn.2024-01.io.example:dpu-1"

// psk returns a key of that many bytes in the interchange format.
func psk(b byte, size int) []byte {
	raw := bytes.Repeat([]byte{b}, size)
	raw = binary.LittleEndian.AppendUint32(raw, crc32.ChecksumIEEE(raw))
	return fmt.Appendf(nil, "NVMeTLSkey-1:%02d:%s:", size/16-1, base64.StdEncoding.EncodeToString(raw))
}

// tap stands between the DPU and the storage node, and looks whether all that passes is TLS.
type tap struct {
	listener net.Listener
	to       string
	tasks    sync.WaitGroup

	mu sync.Mutex
	// bytes and strange are what passed, and why it was not TLS; guarded by mu.
	bytes   int
	strange error
	conns   []net.Conn // guarded by mu
}

func newTap(t *testing.T, port int) *tap {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	p := &tap{listener: l, to: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	p.tasks.Go(p.run)
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.tasks.Wait()
	})
	return p
}

func (p *tap) port() int64 { return int64(p.listener.Addr().(*net.TCPAddr).Port) }

func (p *tap) run() {
	for {
		a, err := p.listener.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = a.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, a, b)
		p.mu.Unlock()
		p.tasks.Go(func() { p.pass(a, b) })
		p.tasks.Go(func() { p.pass(b, a) })
	}
}

// pass carries records of TLS one by one. What is none is noted, and passed on as it is.
func (p *tap) pass(from, to net.Conn) {
	defer func() {
		_ = from.Close()
		_ = to.Close()
	}()
	head := make([]byte, 5)
	for {
		if _, err := io.ReadFull(from, head); err != nil {
			return
		}
		if head[0] < 20 || head[0] > 23 || head[1] != 3 {
			p.note(0, fmt.Errorf("a record begins with %x", head))
			_, _ = to.Write(head)
			_, _ = io.Copy(to, from)
			return
		}
		body := make([]byte, binary.BigEndian.Uint16(head[3:]))
		if _, err := io.ReadFull(from, body); err != nil {
			return
		}
		p.note(len(body), nil)
		pieces := net.Buffers{head, body}
		if _, err := pieces.WriteTo(to); err != nil {
			return
		}
	}
}

func (p *tap) note(n int, strange error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes += n
	p.strange = errors.Join(p.strange, strange)
}

// forgive forgets what was no TLS so far. It was noted before the storage node got to see it.
func (p *tap) forgive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.strange = nil
}

// secure is a storage node and a DPU with TLS between them, made through the API alone.
type secure struct {
	*site
	tap *tap
}

// newSecure makes a storage node whose subsystem wants that key of the DPU.
func newSecure(t *testing.T, key []byte) *secure {
	t.Helper()
	dir := t.TempDir()
	node := func(name string) *node {
		return newNode(t, "bolt://"+filepath.Join(dir, name+".db"),
			"--secret-key-file", filepath.Join(dir, name+".seal"), "--key-dir", filepath.Join(dir, name+"-keys"), "--log-level", "debug")
	}
	s := &secure{site: &site{storage: node("storage")}}
	s.storage.volume(t)
	s.storage.exportTo(t, "vol-1", &pb.NvmeSubsystemSpec{Nqn: storageNQN, Hostnqn: dpuNQN, Psk: key}, "", "aioVolumes/vol-1")
	s.tap = newTap(t, s.storage.port)
	s.dpu = node("dpu")
	return s
}

// controller makes the remote controller with a key, nil for none.
func (s *secure) controller(t *testing.T, id string, key []byte) {
	t.Helper()
	_, err := pb.NewNvmeRemoteControllerServiceClient(s.dpu.conn).CreateNvmeRemoteController(t.Context(), &pb.CreateNvmeRemoteControllerRequest{
		NvmeRemoteControllerId: id,
		NvmeRemoteController: &pb.NvmeRemoteController{
			Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH, Tcp: &pb.TcpController{Psk: key},
		},
	})
	must(t, err)
}

// path makes the path of that controller, as a host of that name.
func (s *secure) path(t *testing.T, id, host string) error {
	t.Helper()
	_, err := pb.NewNvmeRemoteControllerServiceClient(s.dpu.conn).CreateNvmePath(t.Context(), &pb.CreateNvmePathRequest{
		Parent: "nvmeRemoteControllers/" + id, NvmePathId: "path-1",
		NvmePath: &pb.NvmePath{
			Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP, Traddr: "127.0.0.1",
			Fabrics: &pb.FabricsPath{
				Trsvcid: s.tap.port(), Subnqn: storageNQN, Hostnqn: host, Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
			},
		},
	})
	return err
}

// TestSecureDisk builds a disk over TLS through the API alone, wants every byte between the nodes
// protected, and kills and restarts all parts under a host's verified I/O. Who has another key, or none,
// or another name, is told so; and no key shows anywhere.
func TestSecureDisk(t *testing.T) {
	key, other := psk(0x5a, 48), psk(0x3c, 32)
	s := newSecure(t, key)
	for _, c := range []struct {
		id, host string
		key      []byte
		say      string
	}{
		{"wrong-key", dpuNQN, other, "the same TLS key"},
		{"no-key", dpuNQN, nil, "the path needs a TLS key"},
		{"other-host", dpuNQN + "2", key, "the same TLS key"},
	} {
		s.controller(t, c.id, c.key)
		err := s.path(t, c.id, c.host)
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v, want %q", c.id, err, c.say)
		}
		secretFree(t, c.id, err.Error(), key, other)
	}
	s.tap.forgive() // the host without a key was not heard in TLS

	s.controller(t, "storage-1", key)
	must(t, s.path(t, "storage-1", dpuNQN))
	list, err := pb.NewNvmeRemoteControllerServiceClient(s.dpu.conn).ListNvmeRemoteNamespaces(t.Context(),
		&pb.ListNvmeRemoteNamespacesRequest{Parent: "nvmeRemoteControllers/storage-1"})
	must(t, err)
	s.dpu.export(t, "disk-1", diskNQN, hostNQN, diskUUID, list.GetNvmeRemoteNamespaces()[0].GetName())
	s.whole(t)
	before, err := s.disk(t.Context())
	must(t, err)
	h := connect(t, s.dpu.port)
	h.begin(t)
	for _, parts := range [][]string{{"bridge"}, {"data plane"}, {"storage data plane"}, {"bridge", "storage data plane", "data plane"}} {
		s.survive(t, h, before, parts...)
	}
	h.end(t)

	s.tap.mu.Lock()
	if s.tap.strange != nil || s.tap.bytes < 1<<20 {
		t.Errorf("%d bytes have passed in TLS, and %v", s.tap.bytes, s.tap.strange)
	}
	s.tap.mu.Unlock()
	controller, err := pb.NewNvmeRemoteControllerServiceClient(s.dpu.conn).GetNvmeRemoteController(t.Context(),
		&pb.GetNvmeRemoteControllerRequest{Name: "nvmeRemoteControllers/storage-1"})
	must(t, err)
	secretFree(t, "an answer", controller.String(), key, other)
	for name, text := range map[string]string{
		"the log of the DPU's bridge": s.dpu.bridge.Output(), "the log of the DPU's data plane": s.dpu.dataPlane.Output(),
		"the log of the storage node's bridge": s.storage.bridge.Output(), "the log of the storage node's data plane": s.storage.dataPlane.Output(),
	} {
		secretFree(t, name, text, key, other)
	}
}

// secretFree wants no key in a text.
func secretFree(t *testing.T, what, text string, keys ...[]byte) {
	t.Helper()
	for _, key := range keys {
		if part := string(key[16:40]); strings.Contains(text, part) {
			t.Errorf("%s tells a key", what)
		}
	}
}
