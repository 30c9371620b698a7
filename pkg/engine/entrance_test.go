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

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

const (
	door   = resource.Name("nvmeSubsystems/web-1/nvmeControllers/door")
	first  = resource.Name("nvmeSubsystems/web-1/nvmeNamespaces/first")
	second = resource.Name("nvmeSubsystems/web-1/nvmeNamespaces/second")
)

// house is a subsystem with a door and two disks in files, which can be taken away.
type house struct {
	*rig
	files map[resource.Name]string
}

func newHouse(t *testing.T, wait time.Duration) *house {
	t.Helper()
	h := &house{rig: stopped(t), files: map[resource.Name]string{}}
	h.entranceWait = wait
	h.dataPlane = testkit.DataPlane(t)
	h.start()
	t.Cleanup(func() { h.stop() })
	h.mustCreate("nvmeSubsystems", "", "web-1", subsystem())
	for _, ns := range []resource.Name{first, second} {
		id := ns.ID()
		h.files[ns] = filepath.Join(t.TempDir(), id)
		if err := os.WriteFile(h.files[ns], make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		h.mustCreate("aioVolumes", "", id, &pb.AioVolume{Filename: h.files[ns], BlockSize: 512})
		h.mustCreate("nvmeNamespaces", "nvmeSubsystems/web-1", id, namespace("aioVolumes/"+id))
	}
	h.mustCreate("nvmeControllers", "nvmeSubsystems/web-1", door.ID(), listener(4420))
	return h
}

// without restarts the data plane while the disks' files are away.
func (h *house) without(disks ...resource.Name) {
	h.t.Helper()
	h.move("", ".away", disks...)
	h.dataPlane.Restart()
}

// back puts the files back.
func (h *house) back(disks ...resource.Name) {
	h.t.Helper()
	h.move(".away", "", disks...)
}

func (h *house) move(from, to string, disks ...resource.Name) {
	h.t.Helper()
	for _, d := range disks {
		if err := os.Rename(h.files[d]+from, h.files[d]+to); err != nil {
			h.t.Fatal(err)
		}
	}
}

// errShut is what open returns while hosts are not let in.
var errShut = errors.New("the door is shut")

// open returns nil when hosts are let in.
func (h *house) open() error {
	o, err := h.driver.Observe(h.t.Context())
	if err != nil {
		return err
	}
	for key := range o.Objects {
		if key.Type == driver.TypeListener {
			return nil
		}
	}
	return errShut
}

// shut waits until the door has been left shut several times because of a disk.
func (h *house) shut(because resource.Name) {
	h.t.Helper()
	testkit.Eventually(h.t, "the door is left shut", func() error {
		h.eng.Audit()
		c, err := h.eng.Condition(door)
		if err == nil && (c.Attempts < 3 || !strings.Contains(c.Err.Error(), string(because))) {
			err = fmt.Errorf("condition %+v", c)
		}
		return err
	})
	if err := h.open(); !errors.Is(err, errShut) {
		h.t.Errorf("hosts are let in without the disk of %s (%v)", because, err)
	}
}

// TestHostsAreNotLetInWithoutTheirDisks: what a host would find gone it would give up.
func TestHostsAreNotLetInWithoutTheirDisks(t *testing.T) {
	t.Run("as long as all may still come", func(t *testing.T) {
		h := newHouse(t, time.Hour)
		h.without(second)
		h.shut(second)
		h.back(second)
		h.settled()
		if err := h.open(); err != nil {
			t.Error(err)
		}
	})
	t.Run("not for ever where there is a disk", func(t *testing.T) {
		h := newHouse(t, time.Nanosecond)
		h.without(second)
		testkit.Eventually(t, "the door is open", h.open)
		h.without(first)
		h.shut(first)
		h.back(first, second)
		h.settled()
	})
}
