// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"slices"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

// notified returns the notifications of the client as "type name".
func (c *client) notified() []string {
	var out []string
	for _, n := range c.registry.Notifications(0, 1000) {
		out = append(out, n.Type+" "+n.Context)
	}
	return out
}

func TestNamespaceComesGrowsAndGoes(t *testing.T) {
	s, c := newStorage(t), newClient(t)
	if _, err := bdev.CreateNull(s.registry, bdev.NullOptions{Name: "null0", BlockSizeBytes: 512, Blocks: 20480}); err != nil {
		t.Fatal(err)
	}
	s.export("null0", 1)
	c.attach("nvme0", s.listen("0"))
	s.malloc("m0", 512, 2048)
	if _, err := bdev.CreateNull(s.registry, bdev.NullOptions{Name: "null5", BlockSizeBytes: 512, Blocks: 2048}); err != nil {
		t.Fatal(err)
	}
	s.export("null5", 5)
	eventually(t, "the new namespace shows", func() bool {
		_, err := c.registry.Lookup("nvme0n5")
		return err == nil
	})
	d := c.open("nvme0n1")
	if err := bdev.ResizeNull(s.registry, "null0", 20); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new size shows", func() bool { return d.Geometry().Blocks == 40960 })
	s.unexport(5)
	eventually(t, "the namespace goes", func() bool {
		_, err := c.registry.Lookup("nvme0n5")
		return err != nil
	})
	s.export("null5", 5)
	eventually(t, "the namespace comes back", func() bool {
		_, err := c.registry.Lookup("nvme0n5")
		return err == nil
	})
	// To delete the backing bdev removes its namespace.
	if err := s.registry.Unregister(t.Context(), "null5", ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bdev goes with the one behind it", func() bool {
		_, err := c.registry.Lookup("nvme0n5")
		return err != nil
	})
	want := []string{
		"bdev_register nvme0n1", "bdev_register nvme0n5", "bdev_resize nvme0n1", "bdev_unregister nvme0n5",
		"bdev_register nvme0n5", "bdev_unregister nvme0n5",
	}
	eventually(t, "all is notified", func() bool { return slices.Equal(c.notified(), want) })
}

// TestOpenBdevWaitsForItsUser removes a namespace whose bdev is in use, and uses its identifier again
// before the user has let go.
func TestOpenBdevWaitsForItsUser(t *testing.T) {
	s, c := newStorage(t), newClient(t)
	s.malloc("m1", 512, 64)
	s.malloc("m2", 512, 128)
	s.export("m1", 1)
	c.attach("nvme0", s.listen("0"))
	removed := make(chan struct{})
	d, err := c.registry.Open("nvme0n1", true, bdev.Events{Removed: func() { close(removed) }})
	if err != nil {
		t.Fatal(err)
	}
	s.unexport(1)
	<-removed
	if err := readOne(t, d); err == nil {
		t.Error("a read of a namespace that has gone succeeded")
	}
	s.export("m2", 1)
	_ = d.Close()
	eventually(t, "the identifier is in use again", func() bool {
		info, err := c.registry.Lookup("nvme0n1")
		return err == nil && info.Geometry.Blocks == 128
	})
}

// TestIdentityIsReadOnce: a namespace that another has replaced under the same identifier keeps its
// name, uuid and block size on the host, and has the new size.
func TestIdentityIsReadOnce(t *testing.T) {
	s, c := newStorage(t), newClient(t)
	first := s.malloc("m1", 512, 64)
	s.export("m1", 1)
	trid := s.listen("0")
	c.attach("nvme0", trid)
	cntlid := c.Controllers()[0].Paths[0].CNTLID
	if err := c.Disable(t.Context(), "nvme0", nil); err != nil {
		t.Fatal(err)
	}
	s.unexport(1)
	s.malloc("m2", 4096, 32)
	s.export("m2", 1)
	if err := c.Enable(t.Context(), "nvme0", nil); err != nil {
		t.Fatal(err)
	}
	info, err := c.registry.Lookup("nvme0n1")
	if err != nil || info.UUID != first.UUID || info.Geometry != first.Geometry {
		t.Errorf("after a reconnect: %+v, %v; nothing is read again", info, err)
	}
	if c.Controllers()[0].Paths[0].CNTLID == cntlid {
		t.Error("the controller identifier did not change with the reconnect")
	}
}
