// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
	bridgepb "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
	"github.com/opi-bridge/opi-bridge/tests/apitest"
)

// sibling returns the i-th further resource of the kind, and what it stands on alone.
func (s *suite) sibling(i int) (made, []made) {
	s.t.Helper()
	m := s.valid()
	set := func(path string, value any) { m = with(s.t, m, path, value) }
	var base []made
	onVolume := func() {
		v := volume("page-" + strconv.Itoa(i))
		base = append(base, v)
		set("volume_name_ref", string(v.name))
	}
	switch s.k.Singular() {
	case "aioVolume":
		file := filepath.Join(filepath.Dir(s.e.file), "page"+strconv.Itoa(i))
		if err := os.WriteFile(file, make([]byte, fileBlocks*512), 0o600); err != nil {
			s.t.Fatal(err)
		}
		set("filename", file)
	case "encryptedVolume", "qosVolume", "virtioScsiLun":
		onVolume()
	case "nvmePath":
		if i > 0 {
			set("fabrics.trsvcid", s.e.otherPort)
		}
	case "nvmeSubsystem":
		set("spec.nqn", webNQN+"-page-"+strconv.Itoa(i))
	case "nvmeController":
		set("spec.fabrics_id.traddr", "127.0.0."+strconv.Itoa(10+i))
	case "nvmeNamespace":
		v := volume("page-" + strconv.Itoa(i))
		base = append(base, v)
		set("spec.volume_name_ref", string(v.name))
	case "virtioBlk":
		onVolume()
		set("pcie_id.virtual_function", 20+i)
	case "virtioScsiController":
		set("pcie_id.virtual_function", 20+i)
	}
	name := resource.Name(s.c.name.Collection() + "/page-" + string(rune('a'+i)))
	return made{s.k.Singular(), name, func(testing.TB, *env) proto.Message { return proto.Clone(m) }}, base
}

// siblings returns as many as there can be here, the bases made.
func (s *suite) siblings() []made {
	n := 6
	if s.k.Singular() == "nvmePath" {
		n = 2 // the storage node has two ports
	}
	var all []made
	for i := range n {
		m, base := s.sibling(i)
		for _, b := range base {
			s.make(b)
		}
		all = append(all, m)
	}
	return all
}

// walk lists a collection page by page.
func (s *suite) walk(size int32) []resource.Name {
	s.t.Helper()
	var seen []resource.Name
	for token := ""; ; {
		names, next, err := s.e.client.List(s.t.Context(), s.k, s.c.name.Parent(), size, token)
		if err != nil || len(names) > int(size) {
			s.t.Fatalf("list of %d: %v, %v", size, names, err)
		}
		if seen = append(seen, names...); next == "" {
			return seen
		}
		token = next
	}
}

// paging: pages are in order and whole, whatever comes and goes between them, and their tokens stand
// deletions and restarts.
func (s *suite) paging() {
	all := s.siblings()
	var come, stay []made
	for i, m := range all {
		if i%2 == 0 {
			come = append(come, m)
		} else {
			stay = append(stay, m)
			s.make(m)
		}
	}
	throughout := s.walk(100)
	for _, m := range stay {
		if !slices.Contains(throughout, m.name) {
			s.t.Fatalf("%s is not in the list %v", m.name, throughout)
		}
	}
	rounds, end := s.comeAndGo(come)
	for walks := 0; walks < 4 || rounds.Load() < 2 && !s.t.Failed(); walks++ {
		seen := s.walk(int32(1 + walks%3))
		if !slices.IsSorted(seen) || len(slices.Compact(slices.Clone(seen))) != len(seen) {
			s.t.Errorf("not in order, or twice: %v", seen)
		}
		for _, name := range throughout {
			if !slices.Contains(seen, name) {
				s.t.Errorf("%s was there throughout, and not in the pages: %v", name, seen)
			}
		}
		for _, name := range seen {
			if !slices.Contains(throughout, name) && !slices.ContainsFunc(come, func(m made) bool { return m.name == name }) {
				s.t.Errorf("%s never existed", name)
			}
		}
	}
	end()
	s.tokens(all)
}

// comeAndGo has another client create and delete resources until end is called, and counts how often
// all of them have come and gone.
func (s *suite) comeAndGo(those []made) (rounds *atomic.Int64, end func()) {
	other := apitest.Dial(s.t, s.e.bridge.GRPCAddr())
	ctx, cancel := context.WithCancel(s.t.Context())
	rounds = &atomic.Int64{}
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			for _, m := range those {
				if _, err := other.Create(s.t.Context(), s.k, m.name, m.msg(s.t, s.e)); err != nil && status.Code(err) != codes.Unavailable {
					s.t.Errorf("another client creates %s: %v", m.name, err)
				}
			}
			for _, m := range those {
				if err := other.Delete(s.t.Context(), s.k, m.name, true); err != nil && status.Code(err) != codes.Unavailable {
					s.t.Errorf("another client deletes %s: %v", m.name, err)
				}
			}
			rounds.Add(1)
		}
	})
	return rounds, func() { cancel(); done.Wait() }
}

// tokens: a token is good after the resource that it follows has gone, and after a restart, and for its
// own list only.
func (s *suite) tokens(all []made) {
	for _, m := range all {
		s.make(m) // those that are there already are so just as asked for
	}
	before := s.walk(100)
	parent := s.c.name.Parent()
	list := func(k *resource.Kind, parent resource.Name, size int32, token string) ([]resource.Name, string, error) {
		return s.e.client.List(s.t.Context(), k, parent, size, token)
	}
	at := slices.Index(before, all[0].name)
	_, token, err := list(s.k, parent, int32(at+1), "")
	if err != nil || token == "" {
		s.t.Fatalf("the first %d of %v: token %q, %v", at+1, before, token, err)
	}
	s.unmake(all[0])
	for _, when := range []string{"that follows what is gone", "that follows what is gone, after a restart"} {
		if strings.HasSuffix(when, "restart") {
			s.e.bridge.Restart()
			s.e.ready(s.t)
		}
		rest, _, err := list(s.k, parent, 100, token)
		if err != nil || !slices.Equal(rest, before[at+1:]) {
			s.t.Errorf("a page %s: %v, %v; want %v", when, rest, err, before[at+1:])
		}
	}
	foreign := map[string]error{}
	other := s.e.kinds["nullVolume"]
	if other == s.k {
		other = s.e.kinds["mallocVolume"]
	}
	_, _, foreign["of another collection"] = list(other, "", 1, token)
	if parent != "" {
		second := made{s.e.parentOf(s.k), parent + "-2", msg(&pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: webNQN + "-2"}})}
		if strings.HasPrefix(string(parent), "nvmeRemoteControllers/") {
			second.msg = remoteController().msg
		}
		s.make(second)
		_, _, foreign["of another parent"] = list(s.k, second.name, 1, token)
		s.unmake(second)
	}
	states := bridgepb.NewBridgeServiceClient(s.e.client.Conn)
	page, err := states.ListResourceStatus(s.t.Context(), &bridgepb.ListResourceStatusRequest{PageSize: 1})
	if err != nil || page.GetNextPageToken() == "" {
		s.t.Errorf("the first of all states: %v, %v", page, err)
	}
	_, foreign["of another filter"] = states.ListResourceStatus(s.t.Context(), &bridgepb.ListResourceStatusRequest{
		PageSize: 1, PageToken: page.GetNextPageToken(), NotReadyOnly: true,
	})
	_, _, foreign["of another service"] = list(s.k, parent, 1, page.GetNextPageToken())
	_, _, foreign["that is none"] = list(s.k, parent, 1, "stale")
	_, _, foreign["with a letter more"] = list(s.k, parent, 1, token+"A")
	for what, err := range foreign {
		s.want("a token "+what, err, codes.InvalidArgument)
	}
	_, _, err = list(s.k, parent, -1, "")
	s.want("a negative page size", err, codes.InvalidArgument)
	for _, m := range all[1:] {
		s.unmake(m)
	}
}

// parentOf returns the singular of the kind that the kind's resources lie below.
func (e *env) parentOf(k *resource.Kind) string {
	for singular, above := range e.kinds {
		if above.Pattern() == k.ParentPattern() {
			return singular
		}
	}
	return fmt.Sprintf("none above %s", k.Singular())
}
