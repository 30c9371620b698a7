// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"pgregory.net/rapid"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	"github.com/opi-bridge/opi-bridge/tests/apitest"
)

// TestHistories makes random histories, first those that have failed once (testdata/kept), and asks
// whether there is a state of the API's model, at each moment, that explains all answers.
func TestHistories(t *testing.T) {
	for name, file := range map[string]bool{"redis": false, "file": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, file, maxAtOnce)
			r.furnish()
			all := shapes()
			(&historian{rig: r, all: all}).replay(kept(t, all))
			draw := drawScript(all)
			end := time.Now().Add(*runTime / 2)
			var once sync.Once
			var failed script // the last that did, which is the shortest
			var why string
			defer func() {
				if failed != nil {
					keep(t, failed, why)
				}
			}()
			rapid.Check(t, func(rt *rapid.T) {
				if time.Now().After(end) && !t.Failed() {
					return // the number of checks is given by time
				}
				s := draw.Draw(rt, "history")
				h := &historian{rig: r, all: all}
				h.reset()
				if bad := h.play(s); bad != "" {
					failed, why = s, bad
					once.Do(func() { counted.add(func(c *tally) { c.wrong++ }) }) // and not again while it is cut down
					rt.Fatalf("violation: %s", bad)
				}
			})
		})
	}
}

// historian plays a script and compares.
type historian struct {
	*rig
	all    []*shape
	worlds worlds
	// unsettled says that something is wrong, or was not long ago, so that requests may fail.
	unsettled bool
	past      []string
}

// reset makes the bridge forget everything.
func (h *historian) reset() {
	h.t.Helper()
	h.settle()
	testkit.Eventually(h.t, "deleting everything", func() error {
		var last error // what is in use goes with the next turn
		for _, s := range slices.Backward(h.all) {
			for _, parent := range s.parentsOrNone() {
				for _, id := range s.ids {
					c := call{shape: s, parent: parent, id: id}
					if _, err := h.clients[0].invoke(h.t.Context(), "Delete"+s.resource, map[string]any{"name": c.name(), "allow_missing": true}); err != nil {
						last = err
					}
				}
			}
		}
		return last
	})
	h.worlds = worlds{all: []branch{{world: &world{}}}}
	h.worlds.all[0].world.things = map[string]*thing{}
}

func (s *shape) parentsOrNone() []string {
	if len(s.parents) == 0 {
		return []string{""}
	}
	return s.parents
}

// play makes a history and returns what is wrong with it, "" for nothing.
func (h *historian) play(s script) string {
	counted.add(func(c *tally) { c.histories++ })
	for _, m := range s {
		if bad := h.moment(m); bad != "" {
			return bad
		}
		if m.settle {
			h.quiet()
		}
	}
	h.quiet()
	return h.everything()
}

// quiet waits until nothing can take effect any more.
func (h *historian) quiet() {
	if h.unsettled {
		h.settle()
		h.past = append(h.past, "(settled)")
	}
	h.unsettled = false
	h.worlds = h.worlds.closed()
}

func (h *historian) moment(m moment) string {
	h.unsettled = h.unsettled || m.fault != none
	replies := make([]reply, len(m.calls))
	var work sync.WaitGroup
	for i, c := range m.calls {
		work.Go(func() { replies[i] = h.call(h.clients[i], c, len(m.calls) == 1) })
	}
	h.strike(m.fault)
	work.Wait()
	return h.judge(replies, m.fault)
}

func (h *historian) judge(replies []reply, f fault) string {
	for _, r := range replies {
		h.past = append(h.past, r.String()+maybe(f != none, " ["+f.String()+"]"))
		excused := h.unsettled || r.outcome == tryAgain && len(replies) > 1
		if (r.outcome == unknown || r.outcome == tryAgain) && !excused {
			return h.tell(r.String() + "\n      though nothing was wrong")
		}
	}
	next := h.worlds.after(replies)
	if len(next.all) == 0 {
		return h.tell(strings.Join(slices.Sorted(maps.Keys(next.why)), "\n   or "))
	}
	if len(next.all) > maxBranches {
		h.quiet()
	}
	h.worlds = next
	return ""
}

// everything reads all there is.
func (h *historian) everything() string {
	names := h.worlds.names()
	for _, s := range h.all {
		for _, parent := range s.parentsOrNone() {
			if parent != "" && !names[parent] {
				continue
			}
			if bad := h.judge([]reply{h.call(h.clients[0], call{verb: "list", shape: s, parent: parent}, true)}, none); bad != "" {
				return bad
			}
		}
	}
	return ""
}

// told bounds how much of the past is told.
const told = 25

func (h *historian) tell(what string) string {
	past := h.past
	if len(past) > told {
		past = past[len(past)-told:]
	}
	for i, line := range past {
		if len(line) > 300 {
			past[i] = line[:300] + "…"
		}
	}
	return fmt.Sprintf("%s\n   (in %d possible worlds)\n   before:\n   %s", what, len(h.worlds.all), strings.Join(past, "\n   "))
}

// call sends a request. Only alone is a list read page by page, for pages are not of one moment.
func (h *historian) call(c client, k call, alone bool) reply {
	fields := map[string]any{"name": k.name(), "parent": k.parent, "allow_missing": k.missOK}
	r := reply{call: k, items: map[string]flat{}}
	method := map[string]string{"create": "Create", "update": "Update", "delete": "Delete", "get": "Get", "stats": "Stats", "list": "List"}[k.verb] + k.shape.resource
	switch k.verb {
	case "create", "update":
		m := k.shape.bodies[k.body](h.rig)
		setText(m, k.shape.ref, k.ref)
		r.body = flatten(m)
		if k.verb == "update" {
			setText(m, "name", k.name())
			fields["update_mask"] = &fieldmaskpb.FieldMask{Paths: k.mask}
		}
		fields[apitest.Snake(k.shape.resource)], fields[apitest.Snake(k.shape.resource)+"_id"] = m, k.id
	case "list":
		method += "s"
		fields["page_size"] = k.pageSize
		if !alone && k.pageSize > 0 {
			fields["page_size"] = int32(1000)
		}
	}
	for {
		got, err := c.invoke(context.WithoutCancel(h.t.Context()), method, fields)
		counted.add(func(t *tally) { t.calls++ })
		r.outcome, r.code, r.text = judge(err), status.Code(err).String(), status.Convert(err).Message()
		if r.outcome == unknown {
			counted.add(func(t *tally) { t.unknown++ })
		}
		if err != nil {
			return r
		}
		token := r.take(got)
		if token == "" {
			return r
		}
		fields["page_token"] = token
	}
}

// take takes over what an answer shows, and returns the token of the next page.
func (r *reply) take(m proto.Message) (token string) {
	switch r.call.verb {
	case "create", "update", "get":
		r.items[textOf(m, "name")] = flatten(m)
	case "list":
		m.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			if !fd.IsList() {
				token = v.String()
				return true
			}
			for i := range v.List().Len() {
				item := v.List().Get(i).Message().Interface()
				r.items[textOf(item, "name")] = flatten(item)
			}
			return true
		})
	}
	return token
}

func textOf(m proto.Message, field string) string {
	return m.ProtoReflect().Get(m.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(field))).String()
}

// setText sets a text field, which may lie in a message of the message.
func setText(m proto.Message, path, value string) {
	if path == "" || value == "" {
		return
	}
	r := m.ProtoReflect()
	for {
		first, rest, deeper := strings.Cut(path, ".")
		fd := r.Descriptor().Fields().ByName(protoreflect.Name(first))
		if !deeper {
			r.Set(fd, protoreflect.ValueOfString(value))
			return
		}
		r, path = r.Mutable(fd).Message(), rest
	}
}
