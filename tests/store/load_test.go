// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// workers is how many clients make load at the same time.
const workers = 6

// load is clients that make and delete volumes, and repeat what was not acknowledged, as clients do.
type load struct {
	client pb.NullVolumeServiceClient
	stop   context.CancelFunc
	done   sync.WaitGroup
	acks   atomic.Int64

	mu sync.Mutex
	// guarded by mu: the volumes that acknowledged calls have left, what was refused for good, and how
	// often a call had to be repeated
	there    map[string]bool
	refused  []string
	repeated int
}

// begin starts the clients.
func begin(t *testing.T, conn *grpc.ClientConn) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{client: pb.NewNullVolumeServiceClient(conn), stop: stop, there: map[string]bool{}}
	for i := range workers {
		l.done.Go(func() { l.work(ctx, i) })
	}
	return l
}

// work makes volumes and deletes every second one. It ends between two calls, so that no call is in doubt.
func (l *load) work(ctx context.Context, worker int) {
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("vol-%d-%04d", worker, n)
		name := "nullVolumes/" + id
		if !l.call(ctx, name, true, func(ctx context.Context) error {
			_, err := l.client.CreateNullVolume(ctx, &pb.CreateNullVolumeRequest{
				NullVolumeId: id, NullVolume: &pb.NullVolume{BlockSize: 512, BlocksCount: 64},
			})
			return err
		}) || n%2 == 0 {
			continue
		}
		l.call(ctx, name, false, func(ctx context.Context) error {
			_, err := l.client.DeleteNullVolume(ctx, &pb.DeleteNullVolumeRequest{Name: name, AllowMissing: true})
			return err
		})
	}
}

// call repeats a call until it is acknowledged, and notes what that leaves. It returns false when the
// call was refused for good, which none of these should be.
func (l *load) call(ctx context.Context, name string, leaves bool, call func(context.Context) error) bool {
	for {
		once, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		err := call(once)
		cancel()
		l.mu.Lock()
		switch status.Code(err) {
		case codes.OK:
			l.there[name] = leaves
			l.acks.Add(1)
			l.mu.Unlock()
			return true
		case codes.Unavailable, codes.DeadlineExceeded, codes.Aborted:
			l.repeated++
			l.mu.Unlock()
			continue
		}
		l.refused = append(l.refused, fmt.Sprintf("%s: %v", name, err))
		l.mu.Unlock()
		return false
	}
}

// goesOn waits until so many calls more have been acknowledged.
func (l *load) goesOn(t *testing.T, after string, calls int64) {
	t.Helper()
	before, start := l.acks.Load(), time.Now()
	testkit.Eventually(t, "calls are acknowledged after "+after, func() error {
		if now := l.acks.Load(); now < before+calls {
			return fmt.Errorf("%d since", now-before)
		}
		return nil
	})
	t.Logf("%d calls acknowledged within %v after %s", calls, time.Since(start).Round(time.Millisecond), after)
}

// end stops the clients and wants that nothing was refused for good.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.done.Wait()
	for i, refusal := range l.refused {
		if i == 5 {
			break
		}
		t.Errorf("refused for good, of %d: %s", len(l.refused), refusal)
	}
	t.Logf("%d calls acknowledged, %d repeated", l.acks.Load(), l.repeated)
}

// holds wants that the bridge has exactly what was acknowledged.
func (l *load) holds(t *testing.T, when string) {
	t.Helper()
	var want []string
	for name, there := range l.there {
		if there {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	testkit.Eventually(t, when, func() error {
		got, err := l.list(t.Context())
		if err != nil {
			return err
		}
		if lost, extra := without(want, got), without(got, want); len(lost)+len(extra) > 0 {
			return errors.New("lost " + short(lost) + ", not asked for " + short(extra))
		}
		return nil
	})
}

func (l *load) list(ctx context.Context) (names []string, err error) {
	request := &pb.ListNullVolumesRequest{PageSize: 1000}
	for {
		page, err := l.client.ListNullVolumes(ctx, request)
		if err != nil {
			return nil, err
		}
		for _, v := range page.GetNullVolumes() {
			names = append(names, v.GetName())
		}
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			return names, nil
		}
	}
}

// without returns what is in a and not in b.
func without(a, b []string) (only []string) {
	for _, x := range a {
		if !slices.Contains(b, x) {
			only = append(only, x)
		}
	}
	return only
}

func short(names []string) string {
	return fmt.Sprintf("%d (%s)", len(names), strings.Join(names[:min(3, len(names))], " "))
}
