// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestEngine runs the engine on a real data plane.
func TestEngine(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"life of a disk":            lifeOfADisk,
		"the same again":            theSameAgain,
		"what is in use stays":      whatIsInUseStays,
		"updates":                   updates,
		"restarts":                  restarts,
		"drift":                     drift,
		"strangers":                 strangers,
		"the same at the same time": sameTime,
		"every step may fail":       everyStepMayFail,
		"answers without parts":     withoutParts,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t) })
	}
}

func lifeOfADisk(t *testing.T) {
	r := newRig(t, nil)
	ns := r.buildDisk()
	if ns.GetSpec().GetHostNsid() != 1 || ns.GetSpec().GetUuid() == "" || ns.GetSpec().GetNguid() == "" {
		t.Errorf("identity was not completed: %v", ns)
	}
	if ns.GetStatus().GetOperState() != pb.NvmeNamespaceStatus_OPER_STATE_ONLINE {
		t.Errorf("a namespace that is there is %v", ns.GetStatus())
	}
	have, ok := r.there()[driver.NamespaceKey(testNQN, 1)].(*driver.Namespace)
	if !ok || have.UUID != ns.GetSpec().GetUuid() || !strings.EqualFold(have.NGUID, ns.GetSpec().GetNguid()) || have.Bdev != "vol-1" {
		t.Errorf("the data plane has %+v for %v", have, ns)
	}
	got, err := r.get("nvmeNamespaces", ns.GetName())
	if err != nil || !proto.Equal(got, ns) {
		t.Errorf("get: %v, %v; created %v", got, err, ns)
	}
	items, more, err := r.eng.List(t.Context(), r.kinds["nvmeNamespaces"], "nvmeSubsystems/web-1", "", 10)
	if err != nil || more || len(items) != 1 || !proto.Equal(items[0], ns) {
		t.Errorf("list: %v, %v, %v", items, more, err)
	}
	for _, c := range [][2]string{
		{"nvmeNamespaces", ns.GetName()},
		{"nvmeControllers", "nvmeSubsystems/web-1/nvmeControllers/ctrl-1"},
		{"nvmeSubsystems", "nvmeSubsystems/web-1"},
		{"nullVolumes", "nullVolumes/vol-1"},
	} {
		if err := r.remove(c[0], c[1]); err != nil {
			t.Errorf("delete %s: %v", c[1], err)
		}
		_, err := r.get(c[0], c[1])
		wantClass(t, "get of a deleted "+c[1], err, errdefs.NotFound)
		wantClass(t, "second delete of "+c[1], r.remove(c[0], c[1]), errdefs.NotFound)
	}
	if left := r.there(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if docs, err := r.store.Load(t.Context()); err != nil || len(docs) > 0 {
		t.Errorf("left in the store: %v, %v", docs, err)
	}
}

func theSameAgain(t *testing.T) {
	r := newRig(t, nil)
	first := r.mustCreate("nullVolumes", "", "vol-1", nullVolume())
	if again := r.mustCreate("nullVolumes", "", "vol-1", nullVolume()); !proto.Equal(first, again) {
		t.Errorf("the same request gave %v, then %v", first, again)
	}
	bigger := nullVolume()
	bigger.BlocksCount *= 2
	_, err := r.create("nullVolumes", "", "vol-1", bigger)
	wantClass(t, "the same id for another volume", err, errdefs.AlreadyExists)
	_, err = r.create("mallocVolumes", "", "vol-1", &pb.MallocVolume{BlockSize: 512, BlocksCount: 8})
	wantClass(t, "the same bdev name for another kind", err, errdefs.AlreadyExists)
	r.mustCreate("nvmeSubsystems", "", "web-1", subsystem())
	_, err = r.create("nvmeSubsystems", "", "web-2", subsystem())
	wantClass(t, "the same NQN again", err, errdefs.AlreadyExists)
	r.mustCreate("nvmeNamespaces", "nvmeSubsystems/web-1", "disk-1", namespace("nullVolumes/vol-1"))
	_, err = r.create("nvmeNamespaces", "nvmeSubsystems/web-1", "disk-2", namespace("nullVolumes/vol-1"))
	wantClass(t, "a volume in two namespaces", err, errdefs.FailedPrecondition)
	r.mustCreate("nullVolumes", "", "vol-2", nullVolume())
	taken := namespace("nullVolumes/vol-2")
	taken.Spec.HostNsid = 1
	_, err = r.create("nvmeNamespaces", "nvmeSubsystems/web-1", "disk-2", taken)
	wantClass(t, "an nsid that is taken", err, errdefs.AlreadyExists)
	for ref, class := range map[string]errdefs.Class{
		"nullVolumes/none": errdefs.NotFound, "none": errdefs.NotFound, "nvmeSubsystems/web-1": errdefs.InvalidArgument,
		"nvmeRemoteControllers/none/nvmeRemoteNamespaces/nonen1": errdefs.NotFound,
	} {
		_, err = r.create("nvmeNamespaces", "nvmeSubsystems/web-1", "disk-2", namespace(ref))
		wantClass(t, "volume reference "+ref, err, class)
	}
	_, err = r.create("nvmeNamespaces", "nvmeSubsystems/none", "disk-2", namespace("nullVolumes/vol-2"))
	wantClass(t, "a parent that does not exist", err, errdefs.NotFound)
	r.mustCreate("nvmeNamespaces", "nvmeSubsystems/web-1", "disk-2", namespace("vol-2"))
	wantClass(t, "delete of a volume that is used by its bdev's name", r.remove("nullVolumes", "nullVolumes/vol-2"), errdefs.FailedPrecondition)
}

func whatIsInUseStays(t *testing.T) {
	r := newRig(t, nil)
	ns := r.buildDisk()
	before := len(r.there())
	for name, user := range map[string]string{"nullVolumes/vol-1": ns.GetName(), "nvmeSubsystems/web-1": ns.GetName()} {
		collection, _, _ := strings.Cut(name, "/")
		err := r.remove(collection, name)
		wantClass(t, "delete of "+name, err, errdefs.FailedPrecondition)
		var named bool
		for _, p := range errdefs.Preconditions(err) {
			named = named || p.Subject == user
		}
		if !named {
			t.Errorf("delete of %s does not name %s: %v", name, user, err)
		}
	}
	if after := len(r.there()); after != before {
		t.Errorf("refused deletions have changed the data plane: %d objects, then %d", before, after)
	}
}

func updates(t *testing.T) {
	r := newRig(t, nil)
	ns := r.buildDisk()
	grow := &pb.NullVolume{BlocksCount: 8192}
	got, err := r.eng.Update(t.Context(), r.kinds["nullVolumes"], "nullVolumes/vol-1", grow, []string{"blocks_count"}, false)
	if err != nil {
		t.Fatalf("growing: %v", err)
	}
	if b, ok := r.there()[driver.BdevKey("vol-1")].(*driver.Bdev); !ok || b.Blocks != 8192 {
		t.Errorf("after growing to %v the data plane has %+v", got, b)
	}
	_, err = r.eng.Update(t.Context(), r.kinds["nullVolumes"], "nullVolumes/vol-1", &pb.NullVolume{BlockSize: 4096}, []string{"block_size"}, false)
	wantClass(t, "change of a fixed field", err, errdefs.InvalidArgument)
	_, err = r.eng.Update(t.Context(), r.kinds["nullVolumes"], "nullVolumes/vol-1", &pb.NullVolume{BlocksCount: 100}, nil, false)
	if err == nil {
		t.Error("a null volume shrank")
	}
	if b, ok := r.there()[driver.BdevKey("vol-1")].(*driver.Bdev); !ok || b.Blocks != 8192 {
		t.Errorf("a refused update has left %+v", b)
	}
	r.mustCreate("mallocVolumes", "", "memo-1", &pb.MallocVolume{BlockSize: 512, BlocksCount: 64})
	m, err := r.eng.Update(t.Context(), r.kinds["nvmeNamespaces"], ns.GetName(), namespace("mallocVolumes/memo-1"), []string{"spec.volume_name_ref"}, false)
	if err != nil {
		t.Fatalf("exchanging the volume: %v", err)
	}
	have, ok := r.there()[driver.NamespaceKey(testNQN, 1)].(*driver.Namespace)
	if !ok || have.Bdev != "memo-1" || have.UUID != ns.GetSpec().GetUuid() {
		t.Errorf("after the exchange to %v the data plane has %+v", m, have)
	}
	if err := r.remove("nullVolumes", "nullVolumes/vol-1"); err != nil {
		t.Errorf("delete of the volume that is no longer used: %v", err)
	}
	anybody := subsystem()
	anybody.Spec.Hostnqn = ""
	if _, err := r.eng.Update(t.Context(), r.kinds["nvmeSubsystems"], "nvmeSubsystems/web-1", anybody, []string{"spec.hostnqn"}, false); err != nil {
		t.Fatalf("letting any host in: %v", err)
	}
	if s, ok := r.there()[driver.SubsystemKey(testNQN)].(*driver.Subsystem); !ok || !s.AllowAnyHost {
		t.Errorf("the data plane has %+v", s)
	}
	if h := r.there()[driver.HostKey(testNQN, "nqn.2024-01.io.example:host")]; h != nil {
		t.Errorf("the host that was alone is still listed: %+v", h)
	}
	if _, err := r.eng.Update(t.Context(), r.kinds["nullVolumes"], "nullVolumes/vol-9", nullVolume(), nil, true); err != nil {
		t.Errorf("update of a missing volume that may be created: %v", err)
	}
	_, err = r.eng.Update(t.Context(), r.kinds["nullVolumes"], "nullVolumes/vol-8", nullVolume(), nil, false)
	wantClass(t, "update of a missing volume", err, errdefs.NotFound)
}

func restarts(t *testing.T) {
	r := newRig(t, nil)
	ns := r.buildDisk()
	before := r.there()
	check := func(after string) {
		t.Helper()
		r.settled()
		now := r.there()
		for key, want := range before {
			if have := now[key]; have == nil || len(want.Differences(have)) > 0 {
				t.Errorf("after %s: %s is %+v, before %+v", after, key, have, want)
			}
		}
		if got, err := r.get("nvmeNamespaces", ns.GetName()); err != nil || !proto.Equal(got, ns) {
			t.Errorf("after %s: %v, %v", after, got, err)
		}
	}
	r.restart()
	check("a restart of the bridge")
	r.dataPlane.Kill()
	testkit.Eventually(t, "loss noticed", func() error {
		if s := r.eng.Status(); s.Settled {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	_, err := r.create("nullVolumes", "", "vol-2", nullVolume())
	wantClass(t, "create without a data plane", err, errdefs.Unavailable)
	if _, err := r.get("nullVolumes", "nullVolumes/vol-1"); err != nil {
		t.Errorf("get without a data plane: %v", err)
	}
	r.dataPlane.Start()
	check("a restart of the data plane")
	r.stop()
	r.dataPlane.Kill()
	r.dataPlane.Start()
	r.start()
	check("a restart of both")
	if d := r.eng.Status().Drift; len(d) > 0 {
		t.Errorf("a restart was taken for drift: %v", d)
	}
}

func drift(t *testing.T) {
	r := newRig(t, nil)
	r.buildDisk()
	for _, o := range r.there() {
		if o.Key().Type == driver.TypeBdev {
			continue // takes its namespace along: see below
		}
		r.behind(driver.Delete, o)
		r.eng.Audit()
		testkit.Eventually(t, "repair of "+o.Key().String(), func() error {
			if now := r.there(); now[o.Key()] == nil || len(now) != 5 {
				return fmt.Errorf("the data plane has %v", now)
			}
			return nil
		})
	}
	r.behind(driver.Delete, r.there()[driver.BdevKey("vol-1")])
	testkit.Eventually(t, "repair after a notification", func() error {
		if now := r.there(); len(now) != 5 {
			return fmt.Errorf("the data plane has %v", now)
		}
		return nil
	})
	r.settled()
	// What is repaired is counted when all of the pass is done.
	testkit.Eventually(t, "the drift is counted", func() error {
		if d := r.eng.Status().Drift; d[driver.TypeBdev] != 1 || d[driver.TypeNamespace] < 2 {
			return fmt.Errorf("drift %v", d)
		}
		return nil
	})
}

func strangers(t *testing.T) {
	r := newRig(t, nil)
	bdev := &driver.Bdev{Name: "theirs", Kind: driver.BdevMalloc, BlockSizeBytes: 512, Blocks: 64, UUID: "aaaaaaaa-0000-4000-8000-000000000001"}
	sub := &driver.Subsystem{NQN: "nqn.2024-01.io.example:theirs", SerialNumber: "THEIRS", AllowAnyHost: true}
	r.behind(driver.Create, bdev)
	r.behind(driver.Create, sub)
	_, err := r.create("mallocVolumes", "", "theirs", &pb.MallocVolume{BlockSize: 512, BlocksCount: 64})
	wantClass(t, "a volume with a stranger's name", err, errdefs.AlreadyExists)
	theirs := subsystem()
	theirs.Spec.Nqn = sub.NQN
	_, err = r.create("nvmeSubsystems", "", "web-2", theirs)
	wantClass(t, "a subsystem with a stranger's NQN", err, errdefs.AlreadyExists)
	r.mustCreate("nvmeSubsystems", "", "web-1", subsystem())
	r.mustCreate("nvmeNamespaces", "nvmeSubsystems/web-1", "disk-1", namespace("theirs"))
	if err := r.remove("nvmeNamespaces", "nvmeSubsystems/web-1/nvmeNamespaces/disk-1"); err != nil {
		t.Errorf("delete: %v", err)
	}
	r.restart()
	if err := r.remove("nvmeSubsystems", "nvmeSubsystems/web-1"); err != nil {
		t.Errorf("delete: %v", err)
	}
	if now := r.there(); now[bdev.Key()] == nil || now[sub.Key()] == nil || len(now) != 2 {
		t.Errorf("strangers were touched: %v", now)
	}
}

func sameTime(t *testing.T) {
	r := newRig(t, nil)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			id := fmt.Sprintf("vol-%d", i%4)
			if i%3 == 2 {
				if err := r.remove("nullVolumes", "nullVolumes/"+id); err != nil && errdefs.ClassOf(err) != errdefs.NotFound {
					t.Errorf("delete of %s: %v", id, err)
				}
				return
			}
			m := nullVolume()
			m.Uuid = fmt.Sprintf("aaaaaaaa-0000-4000-8000-00000000000%d", i%4)
			if _, err := r.create("nullVolumes", "", id, m); err != nil && errdefs.ClassOf(err) != errdefs.Aborted {
				t.Errorf("create of %s: %v", id, err)
			}
		})
	}
	wg.Wait()
	r.settled()
	items, _, err := r.eng.List(t.Context(), r.kinds["nullVolumes"], "", "", 100)
	if there := r.there(); err != nil || len(items) != len(there) {
		t.Errorf("listed are %v (%v), there are %v", items, err, there)
	}
}

func withoutParts(t *testing.T) {
	r := newRig(t, nil)
	_, err := r.eng.Get(t.Context(), r.kinds["nullVolumes"], "nullVolumes/")
	wantClass(t, "a malformed name", err, errdefs.InvalidArgument)
	_, err = r.eng.Get(t.Context(), r.kinds["nullVolumes"], "mallocVolumes/vol-1")
	wantClass(t, "a name of another kind", err, errdefs.InvalidArgument)
	_, err = r.create("nullVolumes", "", "v", nullVolume())
	wantClass(t, "a short id", err, errdefs.InvalidArgument)
	m := r.mustCreate("nullVolumes", "", "", nullVolume())
	if v, ok := m.(*pb.NullVolume); !ok || len(v.GetName()) != len("nullVolumes/")+36 {
		t.Errorf("a generated id gave %v", m)
	}
	_, err = r.create("nvmeRemoteNamespaces", "nvmeRemoteControllers/c", "cn1", &pb.NvmeRemoteNamespace{})
	wantClass(t, "create of what is only found", err, errdefs.Unimplemented)
	_, _, err = r.eng.List(t.Context(), r.kinds["nvmeNamespaces"], "nvmeSubsystems/none", "", 1)
	wantClass(t, "list below what does not exist", err, errdefs.NotFound)
	if err := r.eng.Delete(t.Context(), r.kinds["nullVolumes"], "nullVolumes/none", true); err != nil {
		t.Errorf("delete of what may be missing: %v", err)
	}
	stats, err := r.eng.Stats(t.Context(), r.kinds["nvmeSubsystems"], "nvmeSubsystems/none")
	wantClass(t, fmt.Sprint("statistics of what does not exist: ", stats), err, errdefs.NotFound)
}
