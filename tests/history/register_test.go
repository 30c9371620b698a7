// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"fmt"
	"strconv"

	"github.com/anishathalye/porcupine"
	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/proto"
)

// register is one resource seen as a place that is empty or holds a value: one of its fields.
type register struct {
	resource, collection, parent, id string
	// field is where an update finds the value; empty when it cannot be updated.
	field string
	// with returns a message with the n-th value; only a few differ where spread is given.
	with   func(n int) proto.Message
	value  func(m proto.Message) string
	spread int
}

func (r register) name() string {
	if r.parent != "" {
		return r.parent + "/" + r.collection + "/" + r.id
	}
	return r.collection + "/" + r.id
}

// registers are resources of one round. What the first part of their names stands for is made once.
func registers(round int) []register {
	id := func(what string) string { return fmt.Sprintf("%s-%d", what, round) }
	nqn := fmt.Sprintf("nqn.2024-01.io.example:round-%d", round)
	return []register{
		{
			resource: "NvmeSubsystem", collection: "nvmeSubsystems", id: id("sub"), field: "spec.hostnqn",
			with: func(n int) proto.Message {
				return &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: nqn, Hostnqn: fmt.Sprintf("nqn.2024-01.io.example:host-%d", n)}}
			},
			value: valueIn(func(m *pb.NvmeSubsystem) string { return m.GetSpec().GetHostnqn() }),
		},
		{
			resource: "QosVolume", collection: "qosVolumes", id: id("qos"), field: "limits.max.rw_iops_kiops",
			with: func(n int) proto.Message {
				return &pb.QosVolume{VolumeNameRef: "mallocVolumes/base-1", Limits: &pb.Limits{Max: &pb.QosLimit{RwIopsKiops: int64(n)}}}
			},
			value: valueIn(func(m *pb.QosVolume) string { return strconv.FormatInt(m.GetLimits().GetMax().GetRwIopsKiops(), 10) }),
		},
		{
			resource: "NullVolume", collection: "nullVolumes", id: id("nul"),
			with:  func(n int) proto.Message { return &pb.NullVolume{BlockSize: 512, BlocksCount: 2048 * int64(n)} },
			value: valueIn(func(m *pb.NullVolume) string { return strconv.FormatInt(m.GetBlocksCount(), 10) }),
		},
		{
			resource: "NvmeNamespace", collection: "nvmeNamespaces", parent: "nvmeSubsystems/stand", id: id("dsk"), field: "spec.volume_name_ref",
			with: func(n int) proto.Message {
				return &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{VolumeNameRef: fmt.Sprintf("mallocVolumes/base-%d", n)}}
			},
			value:  valueIn(func(m *pb.NvmeNamespace) string { return m.GetSpec().GetVolumeNameRef() }),
			spread: 3,
		},
	}
}

func valueIn[M proto.Message](get func(M) string) func(proto.Message) string {
	return func(m proto.Message) string {
		if typed, ok := m.(M); ok {
			return get(typed)
		}
		return ""
	}
}

// asked is a request to a register, and answered what came of it.
type asked struct {
	register string
	verb     string // create, update, delete, get
	value    string // what create and update ask for
	// orCreate says that an update may create, and that a delete may find nothing.
	missingOK bool
}

type answered struct {
	outcome outcome
	// code is the gRPC code of a refusal.
	code string
	// text is what the bridge says about it.
	text string
	// value is what get, create and update have answered.
	value string
}

// always is when an operation without an answer ends.
const always = int64(1) << 62

// registerModel is what a register does, by the API's manners. Its state is the value, "" when the
// resource does not exist.
func registerModel() porcupine.Model {
	return porcupine.Model{
		Partition: byRegister,
		Init:      func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			before, _ := state.(string)
			ask, _ := input.(asked)
			answer, _ := output.(answered)
			ok, after := step(before, ask, answer)
			return ok, after
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v → %v", input, output) },
		DescribeState: func(state any) string {
			if state == "" {
				return "does not exist"
			}
			return fmt.Sprint(state)
		},
	}
}

// step says whether an answer is right when the register holds before, and what it then holds.
func step(before string, ask asked, answer answered) (ok bool, after string) {
	want, after := verdict(before, ask)
	switch {
	case answer.outcome == unknown:
		return true, after
	case answer.outcome == tryAgain:
		return true, before
	case answer.outcome != done:
		return answer.code == want, before
	case ask.verb == "delete":
		return want == "", after
	}
	return want == "" && answer.value == after, after
}

// verdict is the code with which a request is refused, and what the register holds after it.
func verdict(before string, ask asked) (code, after string) {
	switch {
	case ask.verb == "create" && before != "" && before != ask.value:
		return "AlreadyExists", before
	case ask.verb == "create":
		return "", ask.value
	case before == "" && !ask.missingOK:
		return "NotFound", ""
	case ask.verb == "update":
		return "", ask.value
	case ask.verb == "delete":
		return "", ""
	}
	return "", before
}

func byRegister(history []porcupine.Operation) [][]porcupine.Operation {
	var order []string
	parts := map[string][]porcupine.Operation{}
	for _, op := range history {
		ask, _ := op.Input.(asked)
		if parts[ask.register] == nil {
			order = append(order, ask.register)
		}
		parts[ask.register] = append(parts[ask.register], op)
	}
	all := make([][]porcupine.Operation, 0, len(order))
	for _, name := range order {
		all = append(all, parts[name])
	}
	return all
}

func (a asked) String() string {
	s := a.verb
	if a.value != "" {
		s += " " + a.value
	}
	if a.missingOK {
		s += " (missing is fine)"
	}
	return s
}

func (a answered) String() string {
	switch a.outcome {
	case done:
		if a.value == "" {
			return "done"
		}
		return a.value
	case unknown:
		return "no answer"
	case refused, tryAgain:
	}
	return a.code + ": " + a.text
}
