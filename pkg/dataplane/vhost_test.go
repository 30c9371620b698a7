// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestVhostWaitsForItsGuest: a controller that a virtual machine is connected to is deleted, and the
// call answered, when the machine has gone; everything else goes on meanwhile.
func TestVhostWaitsForItsGuest(t *testing.T) {
	s, path := serve(t)
	c := dial(t, path)
	c.must("bdev_malloc_create", `{"name":"m","block_size":512,"num_blocks":64}`)
	c.must("vhost_create_blk_controller", `{"ctrlr":"blk","dev_name":"m"}`)
	guest := connectGuest(t, s, "blk")
	c.send(`{"id":"delete","method":"vhost_delete_controller","params":{"ctrlr":"blk"}}`)
	c.send(`{"id":"get","method":"vhost_get_controllers"}`)
	if a := c.receive(); a.ID != "get" || !strings.Contains(string(a.Result), `"name":"blks0"`) {
		t.Fatalf("while it is deleted: %v %s", a.ID, said(a))
	}
	_ = guest.Close()
	if a := c.receive(); a.ID != "delete" || said(a) != "true" {
		t.Fatalf("when the guest has gone: %v %s", a.ID, said(a))
	}
	c.want("vhost_get_controllers", "", "[]")
	if _, err := os.Stat(filepath.Join(s.cfg.VhostDir, "blk")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket of a deleted controller: %v", err)
	}
}

// connectGuest connects to a controller and waits until that knows.
func connectGuest(t *testing.T, s *Server, name string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", filepath.Join(s.cfg.VhostDir, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	if name != "blk" {
		return conn
	}
	// GET_PROTOCOL_FEATURES, which is answered.
	if _, err := conn.Write([]byte{15, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 20)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestVhostSCSIServesNobody: the books are kept, and who connects is sent away.
func TestVhostSCSIServesNobody(t *testing.T) {
	s, path := serve(t)
	c := dial(t, path)
	c.must("bdev_malloc_create", `{"name":"m","block_size":512,"num_blocks":64}`)
	c.must("vhost_create_scsi_controller", `{"ctrlr":"scsi"}`)
	for range 8 {
		c.must("vhost_scsi_controller_add_target", `{"ctrlr":"scsi","scsi_target_num":-1,"bdev_name":"m"}`)
	}
	c.want("vhost_scsi_controller_add_target", `{"ctrlr":"scsi","scsi_target_num":-7,"bdev_name":"m"}`, "-32602 No space left on device")
	if _, err := connectGuest(t, s, "scsi").Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a front end of vhost-scsi: %v, want the end", err)
	}
	// The bdev goes, and its targets with it.
	c.must("bdev_malloc_delete", `{"name":"m"}`)
	if got := string(c.must("vhost_get_controllers", "")); !strings.Contains(got, `"scsi":[]`) {
		t.Errorf("after the bdev has gone: %s", got)
	}
	c.must("vhost_delete_controller", `{"ctrlr":"scsi"}`)
	if _, err := os.Stat(filepath.Join(s.cfg.VhostDir, "scsi")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket of a deleted controller: %v", err)
	}
}

// TestVhostNamesOnDisk: sockets are made in their directory and nowhere else, and replace only sockets.
func TestVhostNamesOnDisk(t *testing.T) {
	s, path := serve(t)
	c := dial(t, path)
	if err := os.WriteFile(filepath.Join(s.cfg.VhostDir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(s.cfg.VhostDir, "left"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	_ = left.Close()
	c.must("bdev_malloc_create", `{"name":"m","block_size":512,"num_blocks":64}`)
	for _, name := range []string{"", "../out", "a/b", "file", "/abs"} {
		c.want("vhost_create_scsi_controller", `{"ctrlr":"`+name+`"}`, "-32602 Input/output error")
		c.want("vhost_create_blk_controller", `{"ctrlr":"`+name+`","dev_name":"m"}`, "-32602 Input/output error")
	}
	c.must("vhost_create_scsi_controller", `{"ctrlr":"left"}`)
	c.want("vhost_create_blk_controller", `{"ctrlr":"packed","dev_name":"x","packed_ring":true}`,
		"-32602 packed_ring true is not supported: opi-dataplane has split rings only, leave it out")
	c.want("vhost_create_scsi_controller", `{"ctrlr":"x","cpumask":"0"}`, "-32602 Invalid argument")
	c.want("vhost_controller_set_coalescing", `{"ctrlr":"left","delay_base_us":5000000,"iops_threshold":60000}`, "-32602 Invalid argument")
	c.want("vhost_controller_set_coalescing", `{"ctrlr":"left","delay_base_us":5,"iops_threshold":99}`, "-32602 Invalid argument")
	c.want("virtio_blk_get_transports", `{"name":"vhost_user_blk"}`, `[{"name":"vhost_user_blk"}]`)
	c.want("virtio_blk_get_transports", `{"name":"vfio_user"}`, "-19 No such device")
}

// TestVhostSCSIStart: a controller that is started later has no socket until then, and goes with its last
// target.
func TestVhostSCSIStart(t *testing.T) {
	s, path := serve(t)
	c := dial(t, path)
	c.must("bdev_null_create", `{"name":"n","block_size":512,"num_blocks":64}`)
	socket := filepath.Join(s.cfg.VhostDir, "late")
	const late, target = `{"ctrlr":"late","delay":true}`, `{"ctrlr":"late","scsi_target_num":3,"bdev_name":"n"}`
	for _, take := range [][2]string{
		{"vhost_scsi_controller_remove_target", `{"ctrlr":"late","scsi_target_num":3}`},
		{"bdev_null_delete", `{"name":"n"}`},
		{"vhost_delete_controller", `{"ctrlr":"late"}`},
	} {
		c.must("vhost_create_scsi_controller", late)
		c.must("vhost_scsi_controller_add_target", target)
		if _, err := os.Stat(socket); !os.IsNotExist(err) {
			t.Errorf("a controller that has not been started has a socket: %v", err)
		}
		if got := string(c.must("vhost_get_controllers", "")); !strings.Contains(got, socket) || !strings.Contains(got, `"scsi_dev_num":3`) {
			t.Errorf("a controller that has not been started is shown as %s", got)
		}
		c.must(take[0], take[1])
		c.want("vhost_get_controllers", "", "[]")
		if take[0] == "bdev_null_delete" {
			c.must("bdev_null_create", `{"name":"n","block_size":512,"num_blocks":64}`)
		}
	}
	c.must("vhost_create_scsi_controller", late)
	c.must("vhost_scsi_controller_add_target", target)
	for range 2 {
		c.must("vhost_start_scsi_controller", `{"ctrlr":"late"}`)
	}
	if _, err := os.Stat(socket); err != nil {
		t.Errorf("a controller that has been started: %v", err)
	}
	c.must("vhost_scsi_controller_remove_target", `{"ctrlr":"late","scsi_target_num":3}`)
	c.must("vhost_scsi_controller_add_target", target)
	c.must("vhost_delete_controller", `{"ctrlr":"late"}`)
	c.want("vhost_start_scsi_controller", `{"ctrlr":"late"}`, "-32602 No such device")
	c.must("vhost_create_blk_controller", `{"ctrlr":"blk","dev_name":"n"}`)
	c.want("vhost_start_scsi_controller", `{"ctrlr":"blk"}`, "-32602 Invalid argument")
	if err := os.WriteFile(socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.must("vhost_create_scsi_controller", late)
	c.want("vhost_start_scsi_controller", `{"ctrlr":"late"}`, "-32602 Input/output error")
}
