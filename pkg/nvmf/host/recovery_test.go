// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"context"
	"encoding/json"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/bdev/bdevtest"
	"github.com/opi-bridge/opi-bridge/pkg/bdev/ioload"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
)

// readOne reads the first block.
func readOne(t testing.TB, d bdev.Device) error {
	t.Helper()
	return bdevtest.Do(t, d, bdev.OpRead, 0, 1, make([]byte, d.Geometry().BlockSizeBytes))
}

// forever has I/O wait for a path that is away, and tries every second.
func forever(o *host.AttachOptions) {
	o.Recovery = host.Recovery{LossTimeoutSec: -1, ReconnectDelaySec: 1}
}

// underLoad runs verified I/O on the bdev while disturb runs, and fails the test if any of it fails
// or returns what was not written. disturb gets a function that waits for so many more requests.
func underLoad(t *testing.T, d bdev.Device, disturb func(progress func(more uint64))) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ticks := make(chan struct{})
	cfg := ioload.Config{
		Device: d, Depth: 16, WritePercent: 50, Verify: true, Duration: time.Hour, Seed: 11, StopOnError: true,
		OnProgress: func(uint64) {
			select {
			case ticks <- struct{}{}:
			default:
			}
		},
	}
	l, err := ioload.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	type outcome struct {
		res *ioload.Result
		err error
	}
	over := make(chan outcome, 1)
	go func() {
		res, err := l.Run(ctx)
		over <- outcome{res, err}
	}()
	disturb(func(more uint64) {
		for range more {
			select {
			case <-ticks:
			case o := <-over:
				t.Fatalf("the load ended: %v, %v", o.err, o.res.FirstError)
			case <-time.After(20 * time.Second):
				t.Fatal("the load stands still")
			}
		}
	})
	cancel()
	o := <-over
	if o.res.Errors != 0 || o.res.Mismatched != 0 {
		t.Fatalf("%d errors (%v), %d mismatches %v", o.res.Errors, o.res.FirstError, o.res.Mismatched, o.res.Mismatches)
	}
	check, err := l.Check(t.Context())
	if err != nil || check.Mismatched != 0 || check.Errors != 0 {
		t.Fatalf("check: %v, %d errors, mismatches %v", err, check.Errors, check.Mismatches)
	}
	t.Logf("%d reads, %d writes without a fault", o.res.Reads, o.res.Writes)
}

func TestIOSurvivesATargetThatGoesAndComesBack(t *testing.T) {
	s, c := newStorage(t), newClient(t)
	s.malloc("m", 512, 8192)
	s.export("m", 1)
	trid := s.listen("0")
	c.attach("nvme0", trid, forever)
	underLoad(t, c.open("nvme0n1"), func(progress func(uint64)) {
		for range 2 {
			progress(200)
			s.unlisten(trid)
			eventually(t, "the loss is noticed", func() bool { return c.state("nvme0", 0) != host.StateEnabled })
			s.listen(trid.Trsvcid)
			eventually(t, "the path is back", func() bool { return c.state("nvme0", 0) == host.StateEnabled })
			progress(200)
		}
	})
}

func TestIOSurvivesResets(t *testing.T) {
	s, c := newStorage(t), newClient(t)
	s.malloc("m", 4096, 1024)
	s.export("m", 1)
	c.attach("nvme0", s.listen("0"), forever, func(o *host.AttachOptions) { o.DataDigest, o.HeaderDigest = true, true })
	underLoad(t, c.open("nvme0n1"), func(progress func(uint64)) {
		for range 5 {
			progress(100)
			if err := c.Reset(t.Context(), "nvme0", nil); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestFailoverBetweenTwoPaths(t *testing.T) {
	for _, policy := range []host.Multipath{
		{Policy: host.ActivePassive, MinIO: host.MinIOUnset},
		{Policy: host.ActiveActive, Selector: host.RoundRobin, MinIO: 4},
		{Policy: host.ActiveActive, Selector: host.QueueDepth, MinIO: host.MinIOUnset},
	} {
		t.Run(string(policy.Policy+"/")+string(policy.Selector), func(t *testing.T) {
			s, c := newStorage(t), newClient(t)
			o := c.Options()
			o.IOPathStat = true
			if err := c.SetOptions(o); err != nil {
				t.Fatal(err)
			}
			s.malloc("m", 512, 8192)
			s.export("m", 1)
			one, two := s.listen("0"), s.listen("0")
			with := func(o *host.AttachOptions) { o.Multipath = policy }
			c.attach("nvme0", one, with)
			if names := c.attach("nvme0", two, with); !slices.Equal(names, []string{"nvme0n1"}) {
				t.Fatalf("names %q over the second path", names)
			}
			d := c.open("nvme0n1")
			underLoad(t, d, func(progress func(uint64)) {
				for range 2 {
					progress(300)
					s.unlisten(one)
					progress(300)
					s.listen(one.Trsvcid)
					eventually(t, "the first path is back", func() bool { return c.state("nvme0", 0) == host.StateEnabled })
					s.unlisten(two)
					progress(300)
					s.listen(two.Trsvcid)
					eventually(t, "the second path is back", func() bool { return c.state("nvme0", 1) == host.StateEnabled })
				}
			})
			stats, err := c.PathStats("nvme0n1")
			if err != nil || len(stats) != 2 || stats[0].Stats.Write.Ops == 0 || stats[1].Stats.Write.Ops == 0 {
				t.Errorf("path statistics %+v, %v: both have been used", stats, err)
			}
		})
	}
}

func TestDefaultOptionsFailIOAndReconnectForEver(t *testing.T) {
	s, c := newStorage(t), newClient(t)
	s.malloc("m", 512, 64)
	s.export("m", 1)
	trid := s.listen("0")
	c.attach("nvme0", trid)
	d := c.open("nvme0n1")
	s.unlisten(trid)
	eventually(t, "the path fails", func() bool { return c.state("nvme0", 0) == host.StateFailed })
	if err := readOne(t, d); err == nil {
		t.Error("a read succeeded without a path")
	}
	wantErrno(t, c.Reset(t.Context(), "nvme0", nil), syscall.EPERM)
	if paths := c.IOPaths(""); len(paths) != 1 || paths[0].Connected || !paths[0].Accessible {
		t.Errorf("I/O paths %+v", paths)
	}
	if _, err := c.registry.Lookup("nvme0n1"); err != nil {
		t.Errorf("the bdev has gone: %v", err)
	}
	s.listen(trid.Trsvcid)
	eventually(t, "the path is back", func() bool { return c.state("nvme0", 0) == host.StateEnabled })
	if err := readOne(t, d); err != nil {
		t.Errorf("read after the path came back: %v", err)
	}
}

func TestFastIOFailAndLossTimeout(t *testing.T) {
	s, c := newStorage(t), newClient(t)
	s.malloc("m", 512, 64)
	s.export("m", 1)
	trid := s.listen("0")
	c.attach("nvme0", trid, func(o *host.AttachOptions) {
		o.Recovery = host.Recovery{LossTimeoutSec: 2, ReconnectDelaySec: 1, FastIOFailSec: 1}
	})
	removed := make(chan struct{})
	d, err := c.registry.Open("nvme0n1", true, bdev.Events{Removed: func() { close(removed) }})
	if err != nil {
		t.Fatal(err)
	}
	s.unlisten(trid)
	eventually(t, "the reconnect is delayed", func() bool { return c.state("nvme0", 0) == host.StateDelayed })
	// The read waits for the path, until that takes too long; the bdev is still there then.
	if err := readOne(t, d); err == nil {
		t.Error("a read succeeded without a path")
	}
	if _, err := c.registry.Lookup("nvme0n1"); err != nil {
		t.Errorf("the bdev went with fast_io_fail_timeout_sec: %v", err)
	}
	<-removed
	_ = d.Close()
	eventually(t, "the controller is given up", func() bool { return len(c.Controllers()) == 0 })
}

func TestDetachWhileTheTargetIsDown(t *testing.T) {
	s, c := newStorage(t), newClient(t)
	s.malloc("m", 512, 64)
	s.export("m", 1)
	trid := s.listen("0")
	c.attach("nvme0", trid, forever)
	s.unlisten(trid)
	eventually(t, "the loss is noticed", func() bool { return c.state("nvme0", 0) == host.StateDelayed })
	if err := c.Detach(t.Context(), host.DetachFilter{Name: "nvme0"}); err != nil {
		t.Fatal(err)
	}
}

func TestDetachUnderIO(t *testing.T) {
	s, c := newStorage(t), newClient(t)
	s.malloc("m", 512, 8192)
	s.export("m", 1)
	c.attach("nvme0", s.listen("0"), forever)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d, err := c.registry.Open("nvme0n1", true, bdev.Events{Removed: cancel})
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	began := make(chan struct{})
	go func() {
		defer close(over)
		l, err := ioload.New(ioload.Config{Device: d, Depth: 32, WritePercent: 50, Duration: time.Hour, StopOnError: true})
		if err != nil {
			t.Error(err)
			return
		}
		close(began)
		_, _ = l.Run(ctx) // it may fail when the path goes
		_ = d.Close()
	}()
	<-began
	if err := c.Detach(t.Context(), host.DetachFilter{Name: "nvme0"}); err != nil {
		t.Fatal(err)
	}
	<-over
}

func TestDetachPathsByTheirFields(t *testing.T) {
	s, c := newStorage(t), newClient(t)
	s.malloc("m", 512, 64)
	s.export("m", 1)
	one, two := s.listen("0"), s.listen("0")
	c.attach("nvme0", one)
	c.attach("nvme0", two)
	wantErrno(t, c.Detach(t.Context(), host.DetachFilter{Name: "nvme0", Trid: host.TransportID{Trsvcid: "1"}}), syscall.ENXIO)
	wantErrno(t, c.Detach(t.Context(), host.DetachFilter{Name: "nvme0n1"}), syscall.ENODEV)
	if err := c.Detach(t.Context(), host.DetachFilter{Name: "nvme0", Trid: two}); err != nil {
		t.Fatal(err)
	}
	if infos := c.Controllers(); len(infos) != 1 || len(infos[0].Paths) != 1 || infos[0].Paths[0].Trid != one {
		t.Fatalf("controllers %+v", infos)
	}
	if err := readOne(t, c.open("nvme0n1")); err != nil {
		t.Errorf("read over the other path: %v", err)
	}
}

func TestDetachThatIsHeldUp(t *testing.T) {
	s, c := newStorage(t), newClient(t, func(cfg *host.Config) { cfg.DetachTimeout = 50 * time.Millisecond })
	s.malloc("m", 512, 64)
	s.export("m", 1)
	c.attach("nvme0", s.listen("0"))
	d := c.open("nvme0n1")
	wantErrno(t, c.Detach(t.Context(), host.DetachFilter{Name: "nvme0"}), syscall.ETIMEDOUT)
	if c.state("nvme0", 0) != host.StateDeleting {
		t.Errorf("state %q while it is being detached", c.state("nvme0", 0))
	}
	_ = d.Close()
	eventually(t, "the controller goes when the user lets go", func() bool { return len(c.Controllers()) == 0 })
}

func TestFailoverMode(t *testing.T) {
	s, c := newStorage(t), newClient(t)
	s.malloc("m", 512, 8192)
	s.export("m", 1)
	one, two := s.listen("0"), s.listen("0")
	failover := func(o *host.AttachOptions) { o.Mode = host.ModeFailover }
	c.attach("fo0", one, failover, forever)
	if names := c.attach("fo0", two, failover, forever); len(names) != 0 {
		t.Errorf("names %q for a second address", names)
	}
	o := c.options("fo0", two)
	failover(&o)
	_, err := c.Attach(t.Context(), o)
	wantErrno(t, err, syscall.EALREADY)
	if p := c.Controllers()[0].Paths; len(p) != 1 || !slices.Equal(p[0].Alternates, []host.TransportID{two}) {
		t.Fatalf("paths %+v", p)
	}
	underLoad(t, c.open("fo0n1"), func(progress func(uint64)) {
		progress(200)
		s.unlisten(one)
		eventually(t, "the other address is in use", func() bool { return c.Controllers()[0].Paths[0].Trid == two })
		progress(200)
	})
	if err := c.Detach(t.Context(), host.DetachFilter{Name: "fo0", Trid: one}); err != nil {
		t.Fatal(err)
	}
	if p := c.Controllers()[0].Paths[0]; len(p.Alternates) != 0 || p.Trid != two {
		t.Errorf("path %+v after one address was detached", p)
	}
}

func TestDisableAndEnable(t *testing.T) {
	s, c := newStorage(t), newClient(t)
	s.malloc("m", 512, 64)
	s.export("m", 1)
	c.attach("nvme0", s.listen("0"))
	for range 2 {
		if err := c.Disable(t.Context(), "nvme0", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Reset(t.Context(), "nvme0", nil); err != nil || c.state("nvme0", 0) != host.StateDisabled {
		t.Fatalf("reset of a disabled controller: %v, state %q; nothing is to happen", err, c.state("nvme0", 0))
	}
	d := c.open("nvme0n1")
	if err := readOne(t, d); err == nil {
		t.Error("a read over a disabled path succeeded")
	}
	for range 2 {
		if err := c.Enable(t.Context(), "nvme0", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := readOne(t, d); err != nil {
		t.Errorf("a read over an enabled path: %v", err)
	}
	unknown := uint16(9999)
	wantErrno(t, c.Reset(t.Context(), "nvme0", &unknown), syscall.ENODEV)
	wantErrno(t, c.Disable(t.Context(), "none", nil), syscall.ENODEV)
}

func TestPreferredPathAndPolicy(t *testing.T) {
	s, c := newStorage(t), newClient(t)
	s.malloc("m", 512, 64)
	s.export("m", 1)
	c.attach("nvme0", s.listen("0"))
	c.attach("nvme0", s.listen("0"))
	if paths := c.IOPaths(""); len(paths) != 0 {
		t.Errorf("I/O paths of a bdev that nobody has open: %+v", paths)
	}
	d := c.open("nvme0n1")
	second := c.Controllers()[0].Paths[1].CNTLID
	if err := c.SetPreferredPath("nvme0n1", second); err != nil {
		t.Fatal(err)
	}
	if err := readOne(t, d); err != nil {
		t.Fatal(err)
	}
	for _, p := range c.IOPaths("nvme0n1") {
		if p.Current != (p.CNTLID == second) || !p.Connected || !p.Accessible {
			t.Errorf("path %+v, preferred is %d", p, second)
		}
	}
	wantErrno(t, c.SetPreferredPath("nvme0n1", 999), syscall.ENODEV)
	wantErrno(t, c.SetPreferredPath("none", second), syscall.ENODEV)
	wantErrno(t, c.SetMultipathPolicy("nvme0n1", host.Multipath{Policy: host.ActiveActive}), syscall.EINVAL)
	if err := c.SetMultipathPolicy("nvme0n1", host.Multipath{Policy: host.ActiveActive, MinIO: 1}); err != nil {
		t.Fatal(err)
	}
	info, _ := c.registry.Lookup("nvme0n1")
	b, err := json.Marshal(info.DriverSpecific)
	if err != nil {
		t.Fatal(err)
	}
	var shown struct {
		NVMe []struct {
			Ctrl struct {
				CNTLID uint16 `json:"cntlid"`
			} `json:"ctrlr_data"`
		} `json:"nvme"`
		Policy string `json:"mp_policy"`
	}
	if err := json.Unmarshal(b, &shown); err != nil || len(shown.NVMe) != 2 || shown.NVMe[0].Ctrl.CNTLID != second || shown.Policy != "active_active" {
		t.Errorf("driver specific %s: the preferred path comes first", b)
	}
	_, err = c.PathStats("nvme0n1")
	wantErrno(t, err, syscall.EPERM)
}
