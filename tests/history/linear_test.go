// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	"github.com/opi-bridge/opi-bridge/tests/apitest"
)

const (
	linearClients = 6
	// linearPatience bounds the search for an order of one history.
	linearPatience = time.Minute
)

// TestLinearizable lets clients fight over a few resources while things die, and asks of each resource
// whether there is an order of all requests in which every answer is right.
func TestLinearizable(t *testing.T) {
	for name, file := range map[string]bool{"redis": false, "file": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, file, linearClients)
			a := &arena{rig: r, began: time.Now()}
			a.build()
			for round := 1; time.Since(a.began) < *runTime/2; round++ {
				a.round(round)
			}
		})
	}
}

// arena is where clients fight over registers.
type arena struct {
	*rig
	began time.Time
	value atomic.Int64 // the last value that was given out

	// mu guards history.
	mu      sync.Mutex
	history []porcupine.Operation
}

// build makes what the registers stand on.
func (a *arena) build() {
	a.t.Helper()
	ctx, c := a.t.Context(), a.clients[0]
	for _, id := range []string{"base-1", "base-2", "base-3"} {
		_, err := c.invoke(ctx, "CreateMallocVolume", map[string]any{
			"malloc_volume": &pb.MallocVolume{BlockSize: 512, BlocksCount: 2048}, "malloc_volume_id": id,
		})
		must(a.t, err)
	}
	_, err := c.invoke(ctx, "CreateNvmeSubsystem", map[string]any{
		"nvme_subsystem": &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: "nqn.2024-01.io.example:stand"}}, "nvme_subsystem_id": "stand",
	})
	must(a.t, err)
}

// round makes one history on fresh registers and checks it.
func (a *arena) round(n int) {
	a.t.Helper()
	all := registers(n)
	a.history = nil
	stop := make(chan struct{})
	var work sync.WaitGroup
	for id, c := range a.clients {
		work.Go(func() { a.fight(id, c, all, stop) })
	}
	drawn := drawnFaults()
	for range 1 + rand.IntN(3) {
		a.rest(time.Duration(20+rand.IntN(300)) * time.Millisecond)
		a.strike(drawn[rand.IntN(len(drawn))])
	}
	a.rest(200 * time.Millisecond)
	close(stop)
	work.Wait()
	a.settle()
	for _, reg := range all {
		a.do(0, a.clients[0], reg, asked{register: reg.name(), verb: "get"}, 0)
	}
	counted.add(func(c *tally) { c.histories++ })
	a.check()
	for _, reg := range all {
		testkit.Eventually(a.t, "the resource can be deleted", func() error {
			_, err := a.clients[0].invoke(a.t.Context(), "Delete"+reg.resource, map[string]any{"name": reg.name(), "allow_missing": true})
			return err
		})
	}
}

// fight makes random requests until stop is closed.
func (a *arena) fight(id int, c client, all []register, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-a.t.Context().Done():
			return
		default:
		}
		reg := all[rand.IntN(len(all))]
		ask := asked{register: reg.name()}
		n := 0
		switch p := rand.IntN(10); {
		case p < 4:
			ask.verb = "get"
		case p < 6, p < 8 && reg.field == "":
			ask.verb = "create"
		case p < 8:
			ask.verb, ask.missingOK = "update", rand.IntN(4) == 0
		default:
			ask.verb, ask.missingOK = "delete", rand.IntN(2) == 0
		}
		if ask.verb == "create" || ask.verb == "update" {
			n = int(a.value.Add(1))
			if reg.spread > 0 {
				n = n%reg.spread + 1
			}
			ask.value = reg.value(reg.with(n))
		}
		if a.do(id, c, reg, ask, n) == tryAgain {
			a.rest(pause)
		}
	}
}

// pause is how long a client rests that is told to try again.
const pause = 10 * time.Millisecond

// do sends a request and notes it with what came of it, which it returns.
func (a *arena) do(id int, c client, reg register, ask asked, n int) outcome {
	fields := map[string]any{"name": ask.register, "parent": reg.parent, "allow_missing": ask.missingOK}
	if n > 0 {
		m := reg.with(n)
		if ask.verb == "update" {
			setName(m, ask.register)
			fields["update_mask"] = &fieldmaskpb.FieldMask{Paths: []string{reg.field}}
		}
		fields[apitest.Snake(reg.resource)], fields[apitest.Snake(reg.resource)+"_id"] = m, reg.id
	}
	op := porcupine.Operation{ClientId: id, Input: ask, Call: int64(time.Since(a.began))}
	got, err := c.invoke(context.WithoutCancel(a.t.Context()), verbOf[ask.verb]+reg.resource, fields)
	op.Return = int64(time.Since(a.began))
	answer := answered{outcome: judge(err), code: status.Code(err).String(), text: status.Convert(err).Message()}
	if err == nil && ask.verb != "delete" {
		answer.value = reg.value(got)
	}
	op.Output = answer
	a.note(op, ask, answer, reg)
	return answer.outcome
}

var verbOf = map[string]string{"create": "Create", "update": "Update", "delete": "Delete", "get": "Get"} //nolint:gochecknoglobals // a constant

func (a *arena) note(op porcupine.Operation, ask asked, answer answered, reg register) {
	counted.add(func(c *tally) {
		c.calls++
		if answer.outcome == unknown {
			c.unknown++
		}
	})
	switch {
	case ask.verb == "get" && (answer.outcome == tryAgain || answer.outcome == unknown):
		return // says nothing
	case answer.outcome == refused && reg.spread > 0 && answer.code == "FailedPrecondition":
		return // another has the volume
	case answer.outcome == unknown:
		op.Return = always
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.history = append(a.history, op)
}

// setName sets the field that says which resource an update is about.
func setName(m proto.Message, name string) {
	fd := m.ProtoReflect().Descriptor().Fields().ByName("name")
	m.ProtoReflect().Set(fd, protoreflect.ValueOfString(name))
}
