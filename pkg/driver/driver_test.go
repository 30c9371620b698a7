// SPDX-License-Identifier: Apache-2.0

package driver_test

import (
	"slices"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

func TestAddressesAreComparedByValue(t *testing.T) {
	long := driver.Address{Transport: driver.TransportTCP, Family: driver.FamilyIPv6, Traddr: "0:0:0:0:0:0:0:1", Trsvcid: "04420"}
	short := driver.Address{Transport: driver.TransportTCP, Family: driver.FamilyIPv6, Traddr: "::1", Trsvcid: "4420"}
	if driver.ListenerKey("nqn", long) != driver.ListenerKey("nqn", short) || driver.PathKey("c", long, "nqn") != driver.PathKey("c", short, "nqn") {
		t.Error("one address in two spellings has two keys")
	}
	if long.Canonical().String() != "TCP [::1]:4420" {
		t.Errorf("got %s", long.Canonical())
	}
	odd := driver.Address{Transport: driver.TransportPCIe, Traddr: "0000:01:00.0"}
	if odd.Canonical() != odd {
		t.Errorf("%v became %v", odd, odd.Canonical())
	}
}

func TestDifferences(t *testing.T) {
	malloc := func(f func(*driver.Bdev)) *driver.Bdev {
		b := &driver.Bdev{Name: "b", Kind: driver.BdevMalloc, BlockSizeBytes: 512, Blocks: 8, UUID: "aa"}
		f(b)
		return b
	}
	same := func(*driver.Bdev) {}
	for _, row := range []struct {
		what           string
		want, observed driver.Object
		differ         []string
		remedy         driver.Remedy
	}{
		{"nothing", malloc(same), malloc(func(b *driver.Bdev) { b.UUID, b.Claimed = "AA", true }), nil, driver.RemedyNone},
		{"a malloc bdev of another size", malloc(same), malloc(func(b *driver.Bdev) { b.Blocks = 9 }), []string{"num_blocks"}, driver.RemedyNone},
		{
			"a null bdev of another size", malloc(func(b *driver.Bdev) { b.Kind = driver.BdevNull }),
			malloc(func(b *driver.Bdev) { b.Kind, b.Blocks = driver.BdevNull, 9 }),
			[]string{"num_blocks"},
			driver.RemedyUpdate,
		},
		{
			"a null bdev of another identity", malloc(func(b *driver.Bdev) { b.Kind = driver.BdevNull }),
			malloc(func(b *driver.Bdev) { b.Kind, b.UUID, b.Blocks = driver.BdevNull, "bb", 9 }),
			[]string{"num_blocks", "uuid"},
			driver.RemedyNone,
		},
		{
			"what an aio volume leaves open", &driver.Bdev{Name: "b", Kind: driver.BdevAio, UUID: "aa", Filename: "/f"},
			&driver.Bdev{Name: "b", Kind: driver.BdevAio, UUID: "aa", Filename: "/f", BlockSizeBytes: 4096, Blocks: 3}, nil, driver.RemedyNone,
		},
		{
			"a device that nothing serves", &driver.VirtioBlk{Name: "d", Bdev: "b"}, &driver.VirtioBlk{Name: "d", Lacks: driver.LacksBackEnd},
			[]string{"back_end"},
			driver.RemedyUpdate,
		},
		{
			"a device that no host sees, of another volume", &driver.VirtioBlk{Name: "d", Bdev: "b"},
			&driver.VirtioBlk{Name: "d", Bdev: "c", Lacks: driver.LacksHostDevice},
			[]string{"bdev", "host_device"},
			driver.RemedyReplace,
		},
		{
			"a device in its place in other words", &driver.VirtioBlk{Name: "d", PCI: driver.PCIAddress{Physical: 30, Virtual: 3}},
			&driver.VirtioBlk{Name: "d", PCI: driver.PCIAddress{Port: 1, Virtual: 1}, Placed: true}, nil, driver.RemedyUpdate,
		},
		{
			"a device in another place", &driver.VirtioBlk{Name: "d", PCI: driver.PCIAddress{Port: 1}},
			&driver.VirtioBlk{Name: "d", Placed: true},
			[]string{"pci_address"},
			driver.RemedyUpdate,
		},
		{
			"an endpoint that no host sees", &driver.Listener{PCI: &driver.PCIAddress{}},
			&driver.Listener{PCI: &driver.PCIAddress{}, Lacks: driver.LacksHostDevice},
			[]string{"host_device"},
			driver.RemedyUpdate,
		},
		{"who may connect", &driver.Subsystem{NQN: "n"}, &driver.Subsystem{NQN: "n", AllowAnyHost: true}, []string{"allow_any_host"}, driver.RemedyUpdate},
		{"another subsystem", &driver.Subsystem{NQN: "n", SerialNumber: "1"}, &driver.Subsystem{NQN: "n", SerialNumber: "2"}, []string{"serial_number"}, driver.RemedyNone},
		{"another bdev behind a namespace", &driver.Namespace{Bdev: "a", UUID: "AA"}, &driver.Namespace{Bdev: "b", UUID: "aa"}, []string{"bdev_name"}, driver.RemedyReplace},
		{"another host NQN of a path", &driver.Path{HostNQN: "a"}, &driver.Path{HostNQN: "b"}, []string{"hostnqn"}, driver.RemedyReplace},
		{"another type", &driver.Host{}, &driver.Bdev{}, []string{"type"}, driver.RemedyReplace},
	} {
		got := row.want.Differences(row.observed)
		if !slices.Equal(got, row.differ) {
			t.Errorf("%s: differ in %v, want %v", row.what, got, row.differ)
		}
		if len(got) > 0 && row.want.Remedy(got) != row.remedy {
			t.Errorf("%s: remedy %v, want %v", row.what, row.want.Remedy(got), row.remedy)
		}
	}
}

// TestWhoIsServed: a host whose endpoint has gone is let in as if it had never been.
func TestWhoIsServed(t *testing.T) {
	t.Parallel()
	for lack, open := range map[driver.Lack]bool{driver.LacksNothing: true, driver.LacksHostDevice: true, driver.LacksBackEnd: false} {
		if l := (&driver.Listener{Lacks: lack}); l.Open() != open {
			t.Errorf("a listener that lacks %q: open is %t", lack, !open)
		}
	}
}
