// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestScsiHostsAreNotLetInWithoutTheirDisks: after a restart a virtio-scsi controller, and what is in its slots,
// comes before its socket, and that waits for the disks that hosts were shown.
func TestScsiHostsAreNotLetInWithoutTheirDisks(t *testing.T) {
	const controller, second = resource.Name("virtioScsiControllers/scsi-1"), "virtioScsiLuns/lun-2"
	vhosts := testkit.SocketDir(t)
	r := stopped(t)
	r.entranceWait = time.Hour
	r.dataPlane = testkit.DataPlane(t, "--vhost-dir", vhosts)
	r.start()
	t.Cleanup(func() { r.stop() })
	r.mustCreate("virtioScsiControllers", "", controller.ID(), &pb.VirtioScsiController{PcieId: &pb.PciEndpoint{
		PortId: wrapperspb.Int32(0), PhysicalFunction: wrapperspb.Int32(0), VirtualFunction: wrapperspb.Int32(0),
	}})
	files := map[string]string{}
	for _, n := range []string{"1", "2"} {
		files[n] = filepath.Join(t.TempDir(), n)
		if err := os.WriteFile(files[n], make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		r.mustCreate("aioVolumes", "", "file-"+n, &pb.AioVolume{Filename: files[n], BlockSize: 512})
		r.mustCreate("virtioScsiLuns", "", "lun-"+n, &pb.VirtioScsiLun{TargetNameRef: string(controller), VolumeNameRef: "aioVolumes/file-" + n})
	}
	reachable := func() error {
		_, err := os.Stat(filepath.Join(vhosts, controller.ID()))
		return err
	}
	if err := reachable(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(files["2"], files["2"]+".away"); err != nil {
		t.Fatal(err)
	}
	r.dataPlane.Kill()
	if err := os.Remove(filepath.Join(vhosts, controller.ID())); err != nil { // the killed one has left it
		t.Fatal(err)
	}
	r.dataPlane.Start()
	testkit.Eventually(t, "the controller is kept shut", func() error {
		r.eng.Audit()
		c, err := r.eng.Condition(controller)
		if err == nil && (c.Attempts < 3 || !strings.Contains(c.Err.Error(), second)) {
			err = fmt.Errorf("condition %+v", c)
		}
		return err
	})
	if c, err := r.eng.Condition("virtioScsiLuns/lun-1"); err != nil || c.Err != nil {
		t.Errorf("the disk that is there: %+v, %v", c, err)
	}
	if err := reachable(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("hosts are let in without %s (%v)", second, err)
	}
	if err := os.Rename(files["2"]+".away", files["2"]); err != nil {
		t.Fatal(err)
	}
	r.settled()
	if err := reachable(); err != nil {
		t.Error(err)
	}
}
