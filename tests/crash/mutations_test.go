// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs/errgrpc"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// mutation is one request about one resource.
type mutation struct {
	name    string
	subject subject
	verb    string // create, update, delete or reset
	change  changed
}

// mutations lists every mutation of the example.
func (s subject) mutations() []mutation {
	if s.resets {
		return []mutation{{"reset " + s.kind, s, "reset", changed{}}}
	}
	all := []mutation{{"create " + s.kind, s, "create", changed{}}}
	for _, c := range s.changes {
		all = append(all, mutation{"update " + s.kind + " " + c.field, s, "update", c})
	}
	return append(all, mutation{"delete " + s.kind, s, "delete", changed{}})
}

// TestMutations breaks every mutation of every kind at every message.
func TestMutations(t *testing.T) {
	shared := newStorage(t)
	for _, s := range subjects() {
		t.Run(s.label(), func(t *testing.T) {
			t.Parallel()
			newRig(t, shared).subject(t, s, faultsOnRedis())
		})
	}
}

// subject breaks every mutation of one kind's example.
func (r *rig) subject(t *testing.T, s subject, faults []fault) {
	r.known = append(r.known, s.name)
	for _, b := range s.base {
		r.build(b)
	}
	for _, m := range s.mutations() {
		messages := 0
		r.as(t, m.name+"/unbroken", func() { messages = r.unbroken(m) })
		for _, f := range faults {
			r.as(t, m.name+"/"+f.name, func() { r.mutate(m, f, messages) })
		}
	}
}

// as runs f as a part of the test with a name of its own.
func (r *rig) as(t *testing.T, name string, f func()) {
	t.Run(name, func(part *testing.T) {
		r.t = part
		defer func() { r.t = t }()
		f()
	})
}

// unbroken carries m out and returns how many messages it has.
func (r *rig) unbroken(m mutation) int {
	r.t.Helper()
	before, err := r.start(m)
	if err != nil {
		r.t.Fatalf("%s: to begin with: %v", m.name, err)
	}
	r.gate.arm(0, false, false)
	got, err := r.request(m)
	messages := r.gate.disarm()
	if err != nil {
		r.t.Fatalf("%s, with nothing broken: %v", m.name, err)
	}
	if bad := r.judge(m, before, got, nil); bad != nil {
		r.t.Fatalf("%s, with nothing broken: %v", m.name, bad)
	}
	if messages == 0 {
		r.t.Fatalf("%s: no message came past the proxies", m.name)
	}
	return messages
}

// mutate breaks m, which has so many messages, by f at each of the points in turn. What one violation
// leaves behind makes others, so the first ends it.
func (r *rig) mutate(m mutation, f fault, messages int) {
	r.t.Helper()
	for _, p := range points(messages, f.mutation, r.t.Name()) {
		r.break1(m, f, p)
		if r.t.Failed() {
			return
		}
	}
}

// break1 breaks m once.
func (r *rig) break1(m mutation, f fault, p point) {
	r.t.Helper()
	before, err := r.start(m)
	if err != nil {
		r.t.Fatalf("%s: to begin with: %v", m.name, err)
	}
	r.gate.arm(p.at, p.after, false)
	reached := ""
	got, err := r.during(m, f, &reached)
	r.gate.disarm()
	if f.heal != nil {
		f.heal(r)
	}
	if reached == "" {
		// Which messages there are depends a little on what else goes on.
		if err != nil {
			counted.violation(r.t, "%s: failed though nothing was broken: %v", m.name, err)
		}
		return
	}
	counted.point()
	if f.fatal {
		r.bridge.Start()
	}
	what := fmt.Sprintf("%s, %s %s (message %d)", m.name, f.name, p.around(reached), p.at)
	began := time.Now()
	if bad := r.judge(m, before, got, err); bad != nil {
		counted.violation(r.t, "%s: %v; the answer was %v, %v", what, bad, got, err)
	}
	counted.agreed(what, time.Since(began))
}

// start brings the rig into the state before m, and returns the resource as it is then, if it is.
func (r *rig) start(m mutation) (proto.Message, error) {
	ctx, k := r.t.Context(), r.kinds[m.subject.kind]
	if m.verb == "reset" {
		if err := r.settled(); err != nil {
			return nil, err
		}
		return r.get(k, m.subject.name)
	}
	_, err := r.insist(func() (proto.Message, error) { return nil, r.client.remove(ctx, k, m.subject.name) })
	if err != nil {
		return nil, err
	}
	if m.verb == "create" {
		return nil, r.settled()
	}
	got, err := r.insist(func() (proto.Message, error) {
		return r.client.Create(ctx, k, m.subject.name, m.subject.message(r))
	})
	if err != nil {
		return nil, err
	}
	return lasting(got), r.settled()
}

// maxTries is how often a client may have to send a request when everything agrees, and the status says
// so: the first may meet a connection that was cut, and the second another one.
const maxTries = 3

// insist sends a request until the answer is another than "try again". That is not a matter of time:
// between two tries everything agrees.
func (r *rig) insist(send func() (proto.Message, error)) (proto.Message, error) {
	for try := 1; ; try++ {
		got, err := send()
		if status.Code(err) != codes.Unavailable || try == maxTries {
			return got, err
		}
		if settled := r.settled(); settled != nil {
			return got, errors.Join(err, settled)
		}
	}
}

// request sends m.
func (r *rig) request(m mutation) (proto.Message, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), callTime)
	defer cancel()
	k := r.kinds[m.subject.kind]
	var got proto.Message
	var err error
	switch m.verb {
	case "create":
		got, err = r.client.Create(ctx, k, m.subject.name, m.subject.message(r))
	case "update":
		next := m.subject.message(r)
		m.change.set(r, next)
		got, err = r.client.Update(ctx, k, m.subject.name, next, false, m.change.field)
	case "reset":
		return nil, r.client.Reset(ctx, k, m.subject.name)
	default:
		return nil, r.client.remove(ctx, k, m.subject.name)
	}
	if err != nil {
		return nil, err
	}
	return lasting(got), nil
}

// during sends m and lets f happen when the gate says so.
func (r *rig) during(m mutation, f fault, reached *string) (proto.Message, error) {
	done := make(chan answered, 1)
	go func() {
		got, err := r.request(m)
		done <- answered{got, err}
	}()
	select {
	case *reached = <-r.gate.reached:
		f.do(r)
		r.gate.disarm()
	case a := <-done:
		return a.got, a.err
	}
	a := <-done
	return a.got, a.err
}

// answered is what came of a request.
type answered struct {
	got proto.Message
	err error
}

// judge checks what must hold after a fault, and that the same request then succeeds.
func (r *rig) judge(m mutation, before, acked proto.Message, answer error) error {
	if err := r.settled(); err != nil {
		return err
	}
	if err := r.standing(); err != nil {
		return err
	}
	k := r.kinds[m.subject.kind]
	now, err := r.get(k, m.subject.name)
	if err != nil {
		return err
	}
	done, err := happened(m, r, before, now)
	switch {
	case err != nil:
		return err
	case answer == nil && !done:
		return fmt.Errorf("acknowledged, and now it is %v", now)
	case answer == nil && acked != nil && !proto.Equal(acked, now):
		return fmt.Errorf("acknowledged as %v, and now it is %v", acked, now)
	case refused(answer) && done && m.verb != "reset": // which changes no record, so is "done" before
		return errors.New("refused, and yet it happened")
	}
	again, err := r.insist(func() (proto.Message, error) { return r.request(m) })
	if err != nil {
		return fmt.Errorf("the same request again: %w", err)
	}
	if done && again != nil && !proto.Equal(again, now) {
		return fmt.Errorf("the same request again gives %v, and it was %v", again, now)
	}
	if err := r.settled(); err != nil {
		return fmt.Errorf("after the same request again: %w", err)
	}
	if now, err = r.get(k, m.subject.name); err != nil {
		return err
	}
	if done, err = happened(m, r, before, now); err != nil || !done {
		return fmt.Errorf("after the same request again it is %v, %w", now, err)
	}
	return nil
}

// happened says whether now is the state after m; it fails when it is neither that nor the one before.
func happened(m mutation, r *rig, before, now proto.Message) (bool, error) {
	switch {
	case m.verb == "create":
		if now == nil {
			return false, nil
		}
		// What was left open has been filled in; the rest is as asked for.
		if asked := m.subject.message(r); !covers(asked, now) {
			return false, fmt.Errorf("asked for %v, got %v", asked, now)
		}
		return true, nil
	case m.verb == "delete" && now == nil:
		return true, nil
	case m.verb == "reset" && proto.Equal(now, before):
		return true, nil
	case now == nil:
		return false, errors.New("the resource is gone")
	case m.verb == "update":
		after := proto.Clone(before)
		m.change.set(r, after)
		if proto.Equal(now, after) {
			return true, nil
		}
	}
	if !proto.Equal(now, before) {
		return false, fmt.Errorf("it was %v and is %v", before, now)
	}
	return false, nil
}

// covers says whether now has everything that asked sets. Bytes are secrets, which never come back:
// whether they are right is seen in store and data plane.
func covers(asked, now proto.Message) bool {
	merged := proto.Clone(now)
	proto.Merge(merged, asked)
	forget(merged.ProtoReflect())
	return len(resource.Changed(merged, now)) == 0
}

// forget clears all bytes.
func forget(m protoreflect.Message) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Kind() == protoreflect.BytesKind:
			m.Clear(fd)
		case fd.Message() != nil && !fd.IsList() && !fd.IsMap():
			forget(v.Message())
		}
		return true
	})
}

// refused says whether the bridge itself has said that nothing happened.
func refused(err error) bool {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == errgrpc.Domain {
			code := status.Code(err)
			return info.GetReason() != errgrpc.ReasonOutcomeUnknown && code != codes.DeadlineExceeded && code != codes.Canceled
		}
	}
	return false
}
