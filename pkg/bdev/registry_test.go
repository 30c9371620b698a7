// SPDX-License-Identifier: Apache-2.0

package bdev_test

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// wantErrno fails the test unless err has the class and the errno.
func wantErrno(t *testing.T, err error, class errdefs.Class, errno syscall.Errno) {
	t.Helper()
	var got syscall.Errno
	if !errors.Is(err, class) || !errors.As(err, &got) || got != errno {
		t.Fatalf("error %v: want class %q and errno %d (%v)", err, class, errno, errno)
	}
}

// malloc registers a malloc bdev of 64 blocks of 512 bytes.
func malloc(t *testing.T, r *bdev.Registry, name string) *bdev.Info {
	t.Helper()
	info, err := bdev.CreateMalloc(r, bdev.MallocOptions{Name: name, BlockSizeBytes: 512, Blocks: 64})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// newRegistry returns a registry that is emptied when the test ends.
func newRegistry(t *testing.T) *bdev.Registry {
	t.Helper()
	r := bdev.NewRegistry()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Errorf("close the registry: %v", err)
		}
	})
	return r
}

func TestNamesAliasesAndUUIDsShareOneNameSpace(t *testing.T) {
	r := newRegistry(t)
	id := uuid.MustParse("11111111-1111-4111-8111-111111111111")
	other := uuid.MustParse("ABCDEF01-2345-4789-8ABC-DEF012345678")
	create := func(name string, id uuid.UUID) error {
		_, err := bdev.CreateMalloc(r, bdev.MallocOptions{Name: name, UUID: id, BlockSizeBytes: 512, Blocks: 8})
		return err
	}
	if err := create("a", id); err != nil {
		t.Fatal(err)
	}
	wantErrno(t, create("a", other), errdefs.AlreadyExists, syscall.EEXIST)
	wantErrno(t, create("b", id), errdefs.AlreadyExists, syscall.EEXIST)
	wantErrno(t, create(id.String(), other), errdefs.AlreadyExists, syscall.EEXIST)
	if err := create(other.String(), other); err != nil {
		t.Fatalf("a bdev may be named by its own uuid: %v", err)
	}
	info, err := r.Lookup(other.String())
	if err != nil || len(info.Aliases) != 0 {
		t.Fatalf("lookup %v: %v, aliases %v; want none", other, err, info.Aliases)
	}
	if info, err = r.Lookup(id.String()); err != nil || info.Name != "a" {
		t.Fatalf("lookup by uuid: %v %v", info, err)
	}
	_, err = r.Lookup("ABCDEF01-2345-4789-8ABC-DEF012345678")
	wantErrno(t, err, errdefs.NotFound, syscall.ENODEV)
	var names []string
	for _, info := range r.List() {
		names = append(names, info.Name)
	}
	if len(names) != 2 || names[0] != "a" || names[1] != other.String() {
		t.Fatalf("bdevs %v, want them in order of creation", names)
	}
}

func TestMallocNamesCountFromZero(t *testing.T) {
	r := newRegistry(t)
	if _, err := bdev.CreateMalloc(r, bdev.MallocOptions{BlockSizeBytes: 513, Blocks: 1}); err == nil {
		t.Fatal("block size 513 was accepted")
	}
	for _, want := range []string{"Malloc0", "Malloc1"} {
		if info := malloc(t, r, ""); info.Name != want {
			t.Errorf("name %q, want %q", info.Name, want)
		}
	}
}

func TestClaimIsExclusive(t *testing.T) {
	r := newRegistry(t)
	malloc(t, r, "m")
	before, err := r.Open("m", true, bdev.Events{})
	if err != nil {
		t.Fatal(err)
	}
	first, _ := r.Open("m", false, bdev.Events{})
	second, _ := r.Open("m", false, bdev.Events{})
	if err := first.Claim("one"); err != nil {
		t.Fatalf("an earlier writer is no obstacle to a claim: %v", err)
	}
	wantErrno(t, second.Claim("two"), errdefs.FailedPrecondition, syscall.EPERM)
	_, err = r.Open("m", true, bdev.Events{})
	wantErrno(t, err, errdefs.FailedPrecondition, syscall.EPERM)
	if info, _ := r.Lookup("m"); !info.Claimed() || info.ClaimType() != "exclusive_write" || info.Openers != 3 {
		t.Errorf("info %+v", info)
	}
	_ = first.Close()
	if err := second.Claim("two"); err != nil {
		t.Fatalf("the claim ends with its descriptor: %v", err)
	}
	_ = second.Close()
	_ = before.Close()
}

func TestUnregisterTellsOpenersAndWaits(t *testing.T) {
	r := newRegistry(t)
	malloc(t, r, "m")
	told := make(chan struct{})
	var d *bdev.Desc
	d, err := r.Open("m", true, bdev.Events{Removed: func() { close(told) }})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.Unregister(t.Context(), "m", bdev.ModuleMalloc) }()
	<-told
	// Until the opener lets go, the bdev cannot be found but its name is taken.
	_, err = r.Lookup("m")
	wantErrno(t, err, errdefs.NotFound, syscall.ENODEV)
	wantErrno(t, r.Unregister(t.Context(), "m", ""), errdefs.NotFound, syscall.ENODEV)
	_, err = bdev.CreateMalloc(r, bdev.MallocOptions{Name: "m", BlockSizeBytes: 512, Blocks: 8})
	wantErrno(t, err, errdefs.AlreadyExists, syscall.EEXIST)
	select {
	case err := <-done:
		t.Fatalf("the removal ended before the opener let go: %v", err)
	default:
	}
	_ = d.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	malloc(t, r, "m")
}

func TestUnregisterThatIsGivenUpGoesOn(t *testing.T) {
	r := newRegistry(t)
	malloc(t, r, "m")
	d, _ := r.Open("m", false, bdev.Events{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Unregister(ctx, "m", ""); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want canceled", err)
	}
	_ = d.Close()
	malloc(t, r, "m")
}

func TestUnregisterOfAnotherModuleIsNotFound(t *testing.T) {
	r := newRegistry(t)
	malloc(t, r, "m")
	wantErrno(t, r.Unregister(t.Context(), "m", bdev.ModuleNull), errdefs.NotFound, syscall.ENODEV)
	info, _ := r.Lookup("m")
	if err := r.Unregister(t.Context(), info.UUID.String(), bdev.ModuleMalloc); err != nil {
		t.Fatalf("delete by uuid: %v", err)
	}
}

func TestResizeTellsOpenersAndDoesNotShrinkUnderThem(t *testing.T) {
	r := newRegistry(t)
	if _, err := bdev.CreateNull(r, bdev.NullOptions{Name: "n", BlockSizeBytes: 512, Blocks: 2048}); err != nil {
		t.Fatal(err)
	}
	var told atomic.Int32
	d, _ := r.Open("n", false, bdev.Events{Resized: func() { told.Add(1) }})
	for range 2 { // the second changes nothing
		if err := bdev.ResizeNull(r, "n", 10); err != nil {
			t.Fatal(err)
		}
	}
	if g := d.Geometry(); g.Blocks != 20480 || told.Load() != 1 {
		t.Errorf("%d blocks, told %d times", g.Blocks, told.Load())
	}
	wantErrno(t, bdev.ResizeNull(r, "n", 1), errdefs.InvalidArgument, syscall.EINVAL)
	wantErrno(t, bdev.ResizeNull(r, "n", 0), errdefs.InvalidArgument, syscall.EINVAL)
	wantErrno(t, bdev.ResizeNull(r, "n", 1<<60), errdefs.InvalidArgument, syscall.EINVAL)
	wantErrno(t, bdev.ResizeNull(r, "x", 1), errdefs.NotFound, syscall.ENODEV)
	wantErrno(t, r.Resize("n", 1), errdefs.FailedPrecondition, syscall.EBUSY)
	malloc(t, r, "m")
	wantErrno(t, bdev.ResizeNull(r, "m", 10), errdefs.InvalidArgument, syscall.EINVAL)
	_ = d.Close()
	var got []string
	for _, n := range r.Notifications(0, 100) {
		got = append(got, n.Type+" "+n.Context)
	}
	if want := []string{"bdev_register n", "bdev_resize n", "bdev_register m"}; len(got) != 3 ||
		got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("notifications %q, want %q", got, want)
	}
}

func TestNotificationsKeepTheLatest(t *testing.T) {
	r := newRegistry(t)
	for range 600 {
		malloc(t, r, "m")
		if err := r.Unregister(t.Context(), "m", ""); err != nil {
			t.Fatal(err)
		}
	}
	all := r.Notifications(0, ^uint64(0))
	if len(all) != 1024 || all[0].ID != 176 || all[1023].ID != 1199 {
		t.Fatalf("%d notifications from %d on", len(all), all[0].ID)
	}
	if some := r.Notifications(1198, 1); len(some) != 1 || some[0].Type != bdev.NotifyRegister {
		t.Errorf("notification 1198: %+v", some)
	}
	if none := r.Notifications(1200, 5); len(none) != 0 {
		t.Errorf("notifications from the future: %+v", none)
	}
}
