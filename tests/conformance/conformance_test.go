// SPDX-License-Identifier: Apache-2.0

// Package conformance_test holds every kind of resource to the same promises, over gRPC, on a real
// bridge and a real data plane. What is special about a kind stands in the table; a field that nobody
// has decided about fails.
package conformance_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/kinds"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestEveryFieldIsDecided walks the messages of all kinds.
func TestEveryFieldIsDecided(t *testing.T) {
	cases := table()
	all, err := kinds.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range all {
		if k.Derived() {
			continue
		}
		c, ok := cases[k.Singular()]
		if !ok {
			t.Errorf("%s is not in the table", k.Singular())
			continue
		}
		known := map[string]bool{}
		resource.Leaves(k.Message(), func(path string, _ protoreflect.FieldDescriptor) {
			known[path] = true
			f, decided := c.fields[path]
			switch {
			case !decided:
				t.Errorf("%s: nobody has decided about %s", k.Singular(), path)
			case f.refused != (f.value == nil), !f.refused && !f.kept && f.effect == nil, f.refused && len(f.bad) == 0:
				t.Errorf("%s: the table does not say what becomes of %s", k.Singular(), path)
			}
		})
		for path := range c.fields {
			if !known[path] {
				t.Errorf("%s: the table has %s, and the message does not", k.Singular(), path)
			}
		}
	}
}

// TestKinds runs the suite for each kind on a bridge of its own.
func TestKinds(t *testing.T) {
	for singular, c := range table() {
		t.Run(singular, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			s := &suite{t: t, e: e, k: e.kinds[singular], c: c}
			if singular == "aioVolume" && e.forgetsAio() {
				_, err := s.create(s.valid())
				s.want("create on a data plane that gives the disk a new identity at each start", err, codes.Unimplemented)
				return
			}
			for _, base := range c.base {
				s.make(base)
			}
			s.life()
			s.duplicates()
			s.fieldsTakeEffect()
			s.badValues()
			s.updates()
			s.inUse()
			s.missing()
			s.restarts()
			s.paging()
		})
	}
}

// suite is the promises to one kind.
type suite struct {
	t *testing.T
	e *env
	k *resource.Kind
	c kindCase
}

func (s *suite) make(m made) {
	s.t.Helper()
	if _, err := s.e.client.Create(s.t.Context(), s.e.kinds[m.kind], m.name, m.msg(s.t, s.e)); err != nil {
		s.t.Fatalf("creating %s: %v", m.name, err)
	}
}

func (s *suite) unmake(m made) {
	s.t.Helper()
	if err := s.e.client.Delete(s.t.Context(), s.e.kinds[m.kind], m.name, false); err != nil {
		s.t.Fatalf("deleting %s: %v", m.name, err)
	}
}

func (s *suite) self() made { return made{s.k.Singular(), s.c.name, s.c.valid} }

func (s *suite) valid() proto.Message { return s.c.valid(s.t, s.e) }

func (s *suite) create(m proto.Message) (proto.Message, error) {
	s.t.Helper()
	return s.e.client.Create(s.t.Context(), s.k, s.c.name, m)
}

func (s *suite) get() (proto.Message, error) {
	s.t.Helper()
	return s.e.client.Get(s.t.Context(), s.k, s.c.name)
}

func (s *suite) want(what string, err error, code codes.Code) {
	s.t.Helper()
	if status.Code(err) != code {
		s.t.Errorf("%s: want %s, got %v", what, code, err)
	}
}

// life: what is created can be read, just so, and is gone when deleted.
func (s *suite) life() {
	before := len(s.e.there(s.t))
	created, err := s.create(s.valid())
	if err != nil {
		s.t.Fatalf("create: %v", err)
	}
	got, err := s.get()
	if err != nil || !proto.Equal(got, created) {
		s.t.Errorf("get: %v, %v; created %v", got, err, created)
	}
	s.outputs(created)
	if resource.NameOf(created) != s.c.name {
		s.t.Errorf("the name is %s", resource.NameOf(created))
	}
	s.unmake(s.self())
	_, err = s.get()
	s.want("get after delete", err, codes.NotFound)
	if after := len(s.e.there(s.t)); after != before {
		s.t.Errorf("the data plane had %d objects, and has %d", before, after)
	}
}

// duplicates: the same again is what exists; anything else under the name is refused.
func (s *suite) duplicates() {
	first, err := s.create(s.valid())
	if err != nil {
		s.t.Fatalf("create: %v", err)
	}
	again, err := s.create(s.valid())
	if err != nil || !proto.Equal(first, again) {
		s.t.Errorf("the same again: %v, %v; first %v", again, err, first)
	}
	for path, f := range s.c.fields {
		if f.value == nil {
			continue
		}
		other := with(s.t, s.valid(), path, f.value(s.e))
		if len(resource.Changed(s.valid(), other)) == 0 {
			continue
		}
		if _, err := s.create(other); err == nil {
			s.t.Errorf("the same name with another %s was taken", path)
		}
		break
	}
	s.unmake(s.self())
}

// fieldsTakeEffect: every field that is taken comes back, and shows in the data plane.
func (s *suite) fieldsTakeEffect() {
	for path, f := range s.c.fields {
		if f.value == nil {
			continue
		}
		m := with(s.t, s.valid(), path, f.value(s.e))
		created, err := s.create(m)
		if err != nil {
			s.t.Errorf("create with %s = %v: %v", path, f.value(s.e), err)
			continue
		}
		if slices.Contains(resource.Changed(m, created), path) && !secretField(path) {
			s.t.Errorf("%s = %v does not come back: %v", path, f.value(s.e), created)
		}
		if secretField(path) && strings.Contains(fmt.Sprint(created), fmt.Sprint(f.value(s.e))) {
			s.t.Errorf("%s comes back: %v", path, created)
		}
		if f.effect != nil && !f.effect(s.e, s.e.there(s.t)) {
			s.t.Errorf("%s = %v does not show in the data plane", path, f.value(s.e))
		}
		s.unmake(s.self())
	}
}

func secretField(path string) bool { return path == "key" || strings.HasSuffix(path, "psk") }

// badValues: every bad value is refused, and changes nothing.
func (s *suite) badValues() {
	before := len(s.e.there(s.t))
	for path, f := range s.c.fields {
		for _, bad := range f.bad {
			_, err := s.create(with(s.t, s.valid(), path, bad))
			if err == nil {
				s.t.Errorf("%s = %v was taken", path, bad)
				s.unmake(s.self())
				continue
			}
			switch status.Code(err) {
			case codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.Unimplemented:
			default:
				s.t.Errorf("%s = %v: %v", path, bad, err)
			}
		}
	}
	if after := len(s.e.there(s.t)); after != before {
		s.t.Errorf("bad values have left something: %d objects, then %d", before, after)
	}
}

// updates: a field may be changed in place, with effect, or is refused by name.
func (s *suite) updates() {
	for path, f := range s.c.fields {
		if f.value == nil {
			continue
		}
		created, err := s.create(s.valid())
		if err != nil {
			s.t.Fatalf("create: %v", err)
		}
		m := with(s.t, s.valid(), path, f.value(s.e))
		changes := len(resource.Changed(s.valid(), m)) > 0
		updated, err := s.e.client.Update(s.t.Context(), s.k, s.c.name, m, false, path)
		switch {
		case s.k.Mutable(path) || !changes:
			if err != nil {
				s.t.Errorf("update of %s to %v: %v", path, f.value(s.e), err)
			} else if f.effect != nil && !f.effect(s.e, s.e.there(s.t)) {
				s.t.Errorf("update of %s to %v does not show in the data plane: %v", path, f.value(s.e), updated)
			}
		case status.Code(err) != codes.InvalidArgument || !names(err, path):
			if got, _ := s.get(); !proto.Equal(got, created) || err == nil {
				s.t.Errorf("update of the fixed %s: %v", path, err)
			}
		}
		s.unmake(s.self())
	}
	_, err := s.e.client.Update(s.t.Context(), s.k, s.c.name, s.valid(), false)
	s.want("update of what is not there", err, codes.NotFound)
	if _, err := s.e.client.Update(s.t.Context(), s.k, s.c.name, s.valid(), true); err != nil {
		s.t.Errorf("update of what may be missing: %v", err)
	}
	for _, mask := range []string{"colour", "name.x", ""} {
		_, err := s.e.client.Update(s.t.Context(), s.k, s.c.name, s.valid(), false, mask)
		s.want(fmt.Sprintf("update with mask %q", mask), err, codes.InvalidArgument)
	}
	if _, err := s.e.client.Update(s.t.Context(), s.k, s.c.name, s.valid(), false, "*"); err != nil {
		s.t.Errorf("update of everything to what it is: %v", err)
	}
	s.unmake(s.self())
}

// names says whether an error names the field.
func names(err error, path string) bool {
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				if strings.HasSuffix(v.GetField(), path) {
					return true
				}
			}
		}
	}
	return false
}

// inUse: what others use is not deleted, and the error names them.
func (s *suite) inUse() {
	if s.c.user == nil {
		return
	}
	s.make(s.self())
	user := s.c.user(s.t, s.e)
	s.make(user)
	err := s.e.client.Delete(s.t.Context(), s.k, s.c.name, false)
	s.want("delete of what is in use", err, codes.FailedPrecondition)
	if !strings.Contains(fmt.Sprint(status.Convert(err).Message()), string(user.name)) {
		s.t.Errorf("the error does not name %s: %v", user.name, err)
	}
	s.unmake(user)
	s.unmake(s.self())
}

func (s *suite) missing() {
	s.want("delete of what is not there", s.e.client.Delete(s.t.Context(), s.k, s.c.name, false), codes.NotFound)
	if err := s.e.client.Delete(s.t.Context(), s.k, s.c.name, true); err != nil {
		s.t.Errorf("delete of what may be missing: %v", err)
	}
	other := resource.Name("colours/red")
	s.want("delete of another kind", s.e.client.Delete(s.t.Context(), s.k, other, true), codes.InvalidArgument)
}

// restarts: between any two steps of a life the bridge and the data plane may die.
func (s *suite) restarts() {
	deaths := map[string]func(){
		"bridge":     func() { s.e.bridge.Restart() },
		"data plane": func() { s.e.dataPlane.Restart() },
		"both": func() {
			s.e.bridge.Kill()
			s.e.dataPlane.Restart()
			s.e.bridge.Start()
		},
	}
	for who, death := range deaths {
		created, err := s.create(s.valid())
		if err != nil {
			s.t.Fatalf("create: %v", err)
		}
		before := s.e.there(s.t)
		death()
		s.e.ready(s.t)
		testkit.Eventually(s.t, "all is back after the death of "+who, func() error {
			got, err := s.get()
			if err != nil || !proto.Equal(got, created) {
				return fmt.Errorf("%v, %w; created %v", got, err, created)
			}
			now := s.e.there(s.t)
			for key, o := range before {
				if now[key] == nil || len(o.Differences(now[key])) > 0 {
					return fmt.Errorf("%s is %+v, before %+v", key, now[key], o)
				}
			}
			return nil
		})
		if again, err := s.create(s.valid()); err != nil || !proto.Equal(again, created) {
			s.t.Errorf("the same create after the death of %s: %v, %v", who, again, err)
		}
		death()
		s.e.ready(s.t)
		testkit.Eventually(s.t, "delete after the death of "+who, func() error {
			return s.e.client.Delete(s.t.Context(), s.k, s.c.name, true)
		})
		if _, err := s.get(); status.Code(err) != codes.NotFound {
			s.t.Errorf("after delete: %v", err)
		}
	}
}
