// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"crypto/sha1"
	"net"
	"slices"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

// TestUUIDRule: the uuid of a bdev is the NGUID, else the UUID, else what the options say.
func TestUUIDRule(t *testing.T) {
	nguid, id := uuid.New(), uuid.New()
	space := uuid.MustParse("edaed2de-24bc-4b07-b559-f47ecbe730fd")
	generated := uuid.NewHash(sha1.New(), space, []byte("SN                  1"), 5)
	for name, tc := range map[string]struct {
		nguid, uuid uuid.UUID
		generate    bool
		want        uuid.UUID
	}{
		"both":      {nguid, id, false, nguid},
		"uuid only": {uuid.Nil, id, true, id},
		"generated": {uuid.Nil, uuid.Nil, true, generated},
		"random":    {uuid.Nil, uuid.Nil, false, uuid.Nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			p.identify = func(cns uint8, data []byte) {
				switch cns {
				case nvme.CNSNamespace:
					ns, _ := nvme.DecodeIdentifyNamespace(data)
					ns.NGUID = tc.nguid
					ns.Encode(data)
				case nvme.CNSDescriptors:
					clear(data)
					(&nvme.Descriptors{NGUID: tc.nguid, UUID: tc.uuid}).Encode(data)
				}
			}
			c, _ := watched(t)
			o := c.Options()
			o.GenerateUUIDs = tc.generate
			if err := c.SetOptions(o); err != nil {
				t.Fatal(err)
			}
			info, err := c.registry.Lookup(c.attach("nvme0", p.trid())[0])
			if err != nil {
				t.Fatal(err)
			}
			if (tc.want != uuid.Nil && info.UUID != tc.want) || info.UUID == uuid.Nil {
				t.Errorf("uuid %v, want %v", info.UUID, tc.want)
			}
		})
	}
}

func TestPathsShowTheSameNamespaceOrNone(t *testing.T) {
	first, second := newPeer(t), newPeer(t)
	second.identify = func(cns uint8, data []byte) {
		switch cns {
		case nvme.CNSDescriptors:
			clear(data)
			(&nvme.Descriptors{UUID: uuid.New()}).Encode(data)
		}
	}
	for i, p := range []*peer{first, second} {
		edit := p.identify
		p.identify = func(cns uint8, data []byte) {
			if cns == nvme.CNSController {
				id, _ := nvme.DecodeIdentifyController(data)
				id.CMIC = nvme.CMICMultiController
				id.Encode(data)
			}
			if edit != nil {
				edit(cns, data)
			}
		}
		p.cntlid = uint16(i + 1)
	}
	c, log := watched(t)
	c.attach("nvme0", first.trid())
	if names := c.attach("nvme0", second.trid()); len(names) != 0 {
		t.Errorf("names %q over a path to another disk", names)
	}
	if !log.contains("is not the one that bdev") {
		t.Error("the log does not say why")
	}
	if paths := c.Controllers()[0].Paths; len(paths) != 2 {
		t.Errorf("%d paths", len(paths))
	}
}

func TestSecondPathToTheSameControllerIsRefused(t *testing.T) {
	first, second := newPeer(t), newPeer(t)
	c, _ := watched(t)
	c.attach("nvme0", first.trid())
	_, err := c.Attach(t.Context(), c.options("nvme0", second.trid()))
	wantErrno(t, err, syscall.EINVAL)
}

func TestIPv6AndLocalAddress(t *testing.T) {
	s, c := newStorage(t), newClient(t)
	s.malloc("m", 512, 64)
	s.export("m", 1)
	addr, err := s.target.AddListener(t.Context(), subnqn, target.ListenerConfig{
		Address: target.Address{ADRFAM: target.IPv6, TRADDR: "::1", TRSVCID: "0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	trid := host.TransportID{Trtype: "tcp", Adrfam: "ipv6", Traddr: "::1", Trsvcid: addr.TRSVCID, Subnqn: subnqn}
	names := c.attach("six0", trid, func(o *host.AttachOptions) { o.HostAddr = "::1" })
	if !slices.Equal(names, []string{"six0n1"}) {
		t.Errorf("names %q", names)
	}
	if p := c.Controllers()[0].Paths[0]; p.Trid.Trtype != "TCP" || p.Trid.Adrfam != "IPv6" || p.HostAddr != "::1" {
		t.Errorf("path %+v", p)
	}
	// A fixed local port is enough for one queue only.
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	_ = ln.Close()
	o := c.options("four0", s.listen("0"))
	o.HostNQN, o.HostAddr, o.HostSvcID = "nqn.2020-01.io.x:y", "127.0.0.1", port
	_, err = c.Attach(t.Context(), o)
	wantErrno(t, err, syscall.EIO)
}
