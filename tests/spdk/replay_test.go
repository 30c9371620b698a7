// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// ledger counts over all files, for the checks at the end.
type ledger struct {
	mu sync.Mutex
	// replayed are the methods that were; guarded by mu.
	replayed map[string]bool
	// left are the entries of the tables that were needed; guarded by mu.
	left map[string]bool
	// served are the methods that opi-dataplane has; guarded by mu.
	served []string
	// files is how many files were replayed; guarded by mu.
	files int
}

// replay is one file being replayed.
type replay struct {
	*testing.T
	file      string // without directory and suffix
	dir       string
	ports     *ports
	bindings  *bindings
	ledger    *ledger
	instances map[string]*instance
	done      map[string]func() // what events have begun, by the step that ends it
	nextID    int
	served    map[string]bool
	replayed  int
	skipped   map[string]int // by reason
	silent    net.Listener   // the peer of slowAttach and parallelAttach
}

// TestRecordings sends what was sent to SPDK and compares what comes with what came.
func TestRecordings(t *testing.T) {
	l := &ledger{replayed: make(map[string]bool), left: make(map[string]bool)}
	t.Run("files", func(t *testing.T) {
		for _, path := range recordings(t) {
			file := strings.TrimSuffix(filepath.Base(path), ".jsonl")
			t.Run(file, func(t *testing.T) {
				t.Parallel()
				r := &replay{
					T: t, file: file, dir: t.TempDir(), ports: newPorts(t), bindings: newBindings(), ledger: l,
					instances: make(map[string]*instance), done: make(map[string]func()), skipped: make(map[string]int),
				}
				r.run(load(t, path))
			})
		}
	})
	l.check(t)
}

// check finds entries of the tables that nothing needs, and methods that are served but not replayed.
func (l *ledger) check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if all := len(recordings(t)); l.files < all {
		t.Logf("%d of %d files were replayed: the tables are not checked", l.files, all)
		return
	}
	for _, method := range slices.Sorted(maps.Keys(outOfScope())) {
		if slices.Contains(l.served, method) {
			t.Errorf("%s is served: it is not out of scope", method)
		}
		if !l.left[method] {
			t.Errorf("%s is in the table of what is out of scope, and in no recording", method)
		}
	}
	for _, entry := range slices.Sorted(maps.Keys(outOfScopeSteps())) {
		if !l.left[entry] {
			t.Errorf("%s is in the table of steps out of scope, and in no recording", entry)
		}
	}
	for _, method := range l.served {
		if !l.replayed[method] {
			t.Errorf("%s is served, and no recording of it was replayed", method)
		}
	}
}

func (r *replay) run(steps []step) {
	prepare(r)
	for _, s := range steps {
		r.bindings.chosen(string(s.Request))
		for _, sent := range s.Send {
			r.bindings.chosen(text(sent[1]))
		}
	}
	r.learnMethods()
	for i := range steps {
		s := &steps[i]
		switch {
		case s.Event != "":
			r.event(s)
		case s.Send != nil:
			r.raw(s)
		default:
			r.exchange(s)
		}
	}
	r.Logf("%s: replayed %d, out of scope %d", r.file, r.replayed, total(r.skipped))
	for _, reason := range slices.Sorted(maps.Keys(r.skipped)) {
		r.Logf("    %4d  %s", r.skipped[reason], reason)
	}
}

func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// instance returns the data plane that plays a target of the recording, running.
func (r *replay) instance(target string) *instance {
	if target == "" {
		target = "dpu"
	}
	i, ok := r.instances[target]
	if !ok {
		var flags []string
		if r.file == "01b_wait_for_rpc" {
			flags = append(flags, "--wait-for-rpc")
		}
		i = start(r.T, r.dir, target, flags...)
		r.instances[target] = i
	}
	return i
}

// learnMethods asks which methods there are.
func (r *replay) learnMethods() {
	answer := r.call("dpu", `{"id":1,"method":"rpc_get_methods"}`)
	var result struct{ Result []string }
	if err := json.Unmarshal(answer, &result); err != nil {
		r.Fatal(err)
	}
	r.served = make(map[string]bool)
	for _, method := range result.Result {
		r.served[method] = true
	}
	r.ledger.mu.Lock()
	r.ledger.files++
	r.ledger.served = result.Result
	r.ledger.mu.Unlock()
}

// call sends a request on the connection of a target and returns the answer.
func (r *replay) call(target, request string) json.RawMessage {
	i := r.instance(target)
	i.send([]byte(request))
	answer := i.receive(patience)
	if answer == nil {
		r.Fatalf("no answer to %s\n%s", request, i.log)
	}
	return answer
}

// skip counts a step that is not replayed.
func (r *replay) skip(s *step) bool {
	reason, entry := whyNot(r.file, s)
	if reason == "" {
		return false
	}
	r.skipped[reason]++
	r.ledger.mu.Lock()
	r.ledger.left[entry] = true
	r.ledger.mu.Unlock()
	return true
}

// exchange replays one request with its answer.
func (r *replay) exchange(s *step) {
	if r.skip(s) {
		return
	}
	r.replayed++
	r.ledger.mu.Lock()
	r.ledger.replayed[s.method()] = true
	r.ledger.mu.Unlock()
	if reason := unjudged()[r.file+"/"+s.Step]; reason != "" {
		r.Logf("%s: not compared: %s", s.Step, reason)
		r.call(s.Target, r.request(s))
		return
	}
	var diffs []string
	for end := time.Now().Add(r.retries(s)); ; {
		trial := r.bindings.clone()
		answer := r.call(s.Target, r.request(s))
		diffs = r.judge(trial, s, answer)
		if len(diffs) == 0 {
			r.bindings = trial
			return
		}
		if time.Now().After(end) {
			break
		}
		pause(r.T, 20*time.Millisecond)
	}
	r.Errorf("%s: %s\n    %s", s.Step, s.Request, strings.Join(diffs, "\n    "))
}

// retries says how long an answer may differ: where something happens at its own time, what is asked
// for may come a little later than it did in the recording.
func (r *replay) retries(s *step) time.Duration {
	connected := strings.HasPrefix(r.file, "06_") || r.file == "04_nvmf_connected"
	if connected && strings.Contains(s.method(), "_get_") {
		return eventually
	}
	if s.Step == "st-vwc-add-malloc-disconnected" {
		return eventually // the target may hear of the detach a little after the host has answered
	}
	return 0
}

// eventually is how long something that happens at its own time may take.
const eventually = 15 * time.Second

// request is the recorded request in the terms of this run, with an id of its own.
func (r *replay) request(s *step) string {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(r.ports.out(string(s.Request), r.dir)), &fields); err != nil {
		r.Fatal(err)
	}
	r.nextID++
	fields["id"] = json.RawMessage(fmt.Sprint(r.nextID))
	var params map[string]json.RawMessage
	if json.Unmarshal(fields["params"], &params) == nil && params["cntlid"] != nil {
		var recorded float64
		if json.Unmarshal(params["cntlid"], &recorded) == nil {
			if here, ok := r.bindings.cntlids[recorded]; ok {
				params["cntlid"] = json.RawMessage(fmt.Sprint(here))
				fields["params"], _ = json.Marshal(params)
			}
		}
	}
	if s.method() == "vhost_create_blk_controller" && params != nil && params["packed_ring"] != nil {
		delete(params, "packed_ring") // not offered here, and refused
		fields["params"], _ = json.Marshal(params)
	}
	out, err := json.Marshal(fields)
	if err != nil {
		r.Fatal(err)
	}
	return string(out)
}

type answer struct {
	Result any `json:"result"`
	Error  any `json:"error"`
}

// judge returns how an answer differs from the recorded one.
func (r *replay) judge(b *bindings, s *step, got json.RawMessage) []string {
	want := r.parse(string(s.Response))
	have := r.parse(r.ports.in(string(got), r.dir))
	if s.method() == "rpc_get_methods" && want.Error == nil {
		return subset(want.Result, have.Result)
	}
	if want.Error != nil || have.Error != nil {
		return b.compare("error", want.Error, have.Error)
	}
	return b.compare("result", r.adjust(s.method(), want.Result), r.adjust(s.method(), have.Result))
}

// adjust takes out of a result what this data plane does not have, and SPDK's way of counting.
func (r *replay) adjust(method string, result any) any {
	result, _ = scrub(r.file, result)
	switch method {
	case "bdev_get_bdevs":
		if list, ok := result.([]any); ok && r.file == "06_nvme_ns_change" {
			// Our attach is quicker than the news of a namespace that was added before it.
			sortByName(list)
		}
		return withoutOffer(result)
	case "spdk_get_version":
		// The text names the program that answers; the commit is SPDK's own.
		m, _ := result.(map[string]any)
		delete(m, "version")
		fields, _ := m["fields"].(map[string]any)
		delete(fields, "commit")
	case "framework_get_config":
		list, _ := result.([]any)
		return slices.DeleteFunc(slices.Clone(list), func(v any) bool {
			m, _ := v.(map[string]any)
			return !r.served[text(m["method"])]
		})
	case "framework_get_subsystems":
		return onlyOurs(result)
	case "log_get_flags":
		m, _ := result.(map[string]any)
		return map[string]any{"rpc": m["rpc"]}
	case "notify_get_notifications":
		return renumbered(r.withoutSource(result))
	case "bdev_get_iostat":
		return byName(result)
	case "vhost_get_controllers":
		return withShortSockets(result)
	case "nvmf_subsystem_get_qpairs":
		// SPDK's host opens I/O queues when somebody uses a bdev, ours when it connects.
		list, _ := result.([]any)
		return slices.DeleteFunc(slices.Clone(list), func(v any) bool {
			m, _ := v.(map[string]any)
			return m["qid"] != 0.0
		})
	}
	return result
}

// withoutOffer takes out of NVMe bdevs what follows from the commands that a target offers: ours has
// no Copy, does compare and write separately, and takes deallocation for every bdev.
func withoutOffer(result any) any {
	list, _ := result.([]any)
	for _, v := range list {
		m, _ := v.(map[string]any)
		types, _ := m["supported_io_types"].(map[string]any)
		if m["product_name"] == "NVMe disk" {
			delete(types, "copy")
			delete(types, "compare_and_write")
			delete(types, "unmap")
		}
	}
	return result
}

// withoutSource takes the bdevs out of the notifications that came and went with a fixed source port,
// which is not replayed.
func (r *replay) withoutSource(result any) any {
	const from, to, full = 14, 18, 26
	list, _ := result.([]any)
	if r.file == "06_nvme_attach" && len(list) == full {
		return slices.Delete(slices.Clone(list), from, to)
	}
	return result
}

// renumbered numbers notifications anew after some have been taken out.
func renumbered(result any) any {
	list, _ := result.([]any)
	var first any
	for i, v := range list {
		m, _ := v.(map[string]any)
		if i == 0 {
			first = m["id"]
		}
		if n, ok := first.(float64); ok {
			m["id"] = n + float64(i)
		}
	}
	return result
}

// byName sorts statistics: SPDK lists bdevs that are in use last, in the order in which its threads
// report.
func byName(result any) any {
	m, _ := result.(map[string]any)
	if list, ok := m["bdevs"].([]any); ok {
		sortByName(list)
	}
	return result
}

func sortByName(list []any) {
	slices.SortStableFunc(list, func(a, b any) int {
		x, _ := a.(map[string]any)
		y, _ := b.(map[string]any)
		return strings.Compare(text(x["name"]), text(y["name"]))
	})
}

// withShortSockets takes out how much of a long name is left in the path of a socket, which depends on
// the directory.
func withShortSockets(result any) any {
	list, _ := result.([]any)
	for _, v := range list {
		m, _ := v.(map[string]any)
		if socket := text(m["socket"]); strings.HasSuffix(socket, "vvvvvvvvvv") {
			m["socket"] = strings.TrimRight(socket, "v")
		}
	}
	return result
}

// ours says whether we have that subsystem.
func ours(name any) bool {
	return slices.Contains([]any{"keyring", "accel", "bdev", "nvmf", "vhost_blk", "vhost_scsi"}, name)
}

// onlyOurs keeps the subsystems that the data plane has, and what they need of each other.
func onlyOurs(result any) any {
	var out []any
	list, _ := result.([]any)
	for _, v := range list {
		m, _ := v.(map[string]any)
		if !ours(m["subsystem"]) {
			continue
		}
		needs, _ := m["depends_on"].([]any)
		out = append(out, map[string]any{
			"subsystem":  m["subsystem"],
			"depends_on": slices.DeleteFunc(slices.Clone(needs), func(v any) bool { return !ours(v) }),
		})
	}
	return out
}

// subset says which elements of got the recording does not have.
func subset(want, got any) (diffs []string) {
	all, _ := want.([]any)
	ours, _ := got.([]any)
	if len(ours) == 0 {
		return []string{"result: no methods"}
	}
	for _, name := range ours {
		if !slices.Contains(all, name) {
			diffs = append(diffs, fmt.Sprintf("result: SPDK has no %v", name))
		}
	}
	return diffs
}

func (r *replay) parse(s string) (a answer) {
	if err := json.Unmarshal([]byte(s), &a); err != nil {
		r.Fatalf("%v: %s", err, s)
	}
	return a
}
