// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// bindings remember what a random value of the recording is called in this run. The first meeting
// binds; from then on the two must always appear together.
type bindings struct {
	given map[string]bool   // uuids that requests of the recording chose: not random
	here  map[string]string // recorded uuid to ours
	back  map[string]string // and back
	// cntlids leads from a recorded controller id to ours, by the latest answer that showed both:
	// controllers that reconnect by themselves take as many ids as there are attempts.
	cntlids map[float64]float64
}

func newBindings() *bindings {
	return &bindings{
		given: make(map[string]bool), here: make(map[string]string), back: make(map[string]string),
		cntlids: make(map[float64]float64),
	}
}

func (b *bindings) clone() *bindings {
	return &bindings{
		given: b.given, here: maps.Clone(b.here), back: maps.Clone(b.back), cntlids: maps.Clone(b.cntlids),
	}
}

var (
	uuidText  = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`)
	nguidText = regexp.MustCompile(`^[0-9A-F]{32}$`)
)

// plain is a uuid without dashes in upper case, as an NGUID is written.
func plain(uuid string) string { return strings.ToUpper(strings.ReplaceAll(uuid, "-", "")) }

// chosen notes the identities that a recorded request contains.
func (b *bindings) chosen(request string) {
	for _, id := range uuidText.FindAllString(request, -1) {
		b.given[plain(id)] = true
	}
	for _, id := range regexp.MustCompile(`"nguid": ?"([0-9A-F]{32})"`).FindAllStringSubmatch(request, -1) {
		b.given[id[1]] = true
	}
}

// bind says whether got may stand where the recording has want.
func (b *bindings) bind(want, got string) bool {
	want, got = plain(want), plain(got)
	if b.given[want] {
		return want == got
	}
	here, known := b.here[want]
	back, used := b.back[got]
	if known || used {
		return here == got && back == want
	}
	b.here[want], b.back[got] = got, want
	return true
}

// runDependent are members whose values differ from run to run; the kind of value has to agree.
func runDependent(key string) bool {
	switch key {
	case "ticks", "tick_rate", "busy", "idle", "elapsed", "cpumask", "ms",
		"bytes_read", "num_read_ops", "completed_nvme_io", "admin_qpairs", "io_qpairs", "current_io_qpairs",
		"current_admin_qpairs", "num_io_qpairs", "polls", "idle_polls", "socket_completions", "nvme_completions",
		"queued_requests", "submitted_requests", "pending_bdev_io",
		"active_pollers_count", "timed_pollers_count", "paused_pollers_count":
		return true
	}
	return strings.HasSuffix(key, "latency_ticks")
}

// compare returns how got differs from the recorded want.
func (b *bindings) compare(path string, want, got any) []string {
	if reflect.TypeOf(want) != reflect.TypeOf(got) {
		return []string{fmt.Sprintf("%s: recorded %s, got %s", path, short(want), short(got))}
	}
	switch want := want.(type) {
	case map[string]any:
		return b.compareObjects(path, want, got.(map[string]any)) //nolint:forcetypeassert // the types are equal
	case []any:
		return b.compareLists(path, want, got.([]any)) //nolint:forcetypeassert // the types are equal
	case string:
		return b.compareTexts(path, want, got.(string)) //nolint:forcetypeassert // the types are equal
	default:
		if want != got {
			return []string{fmt.Sprintf("%s: recorded %s, got %s", path, short(want), short(got))}
		}
		return nil
	}
}

func (b *bindings) compareObjects(path string, want, got map[string]any) (diffs []string) {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		at := path + "." + key
		value, ok := got[key]
		switch {
		case !ok:
			diffs = append(diffs, at+": missing, recorded "+short(want[key]))
		case key == "cntlid":
			w, isNumber := want[key].(float64)
			g, alsoNumber := value.(float64)
			if !isNumber || !alsoNumber || g < 1 {
				diffs = append(diffs, fmt.Sprintf("%s: recorded %s, got %s", at, short(want[key]), short(value)))
			}
			b.cntlids[w] = g
		case key == "state" && outage(want[key]) && outage(value):
		case key == "peer_address":
		case key == "cpl":
			diffs = append(diffs, b.compare(at, completion(want[key]), completion(value))...)
		case key == "data":
			diffs = append(diffs, compareBytes(at, text(want[key]), text(value))...)
		case runDependent(key):
			if reflect.TypeOf(want[key]) != reflect.TypeOf(value) {
				diffs = append(diffs, fmt.Sprintf("%s: recorded %s, got %s", at, short(want[key]), short(value)))
			}
		default:
			diffs = append(diffs, b.compare(at, want[key], value)...)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[key]; !ok {
			diffs = append(diffs, fmt.Sprintf("%s.%s: not recorded, got %s", path, key, short(got[key])))
		}
	}
	return diffs
}

// completion is the text of a completion queue entry without what depends on the commands before it
// (head of the queue, queue and command identifier) and without the bit that says that the same again
// would fail again: our target says so more often.
func completion(v any) any {
	entry, err := base64.URLEncoding.DecodeString(text(v))
	if err != nil || len(entry) != 16 {
		return v
	}
	clear(entry[8:14])
	entry[15] &^= 0x80
	return fmt.Sprintf("completion %x", entry)
}

// compareBytes compares what is written in base64, and names the first byte that differs.
func compareBytes(path, want, got string) []string {
	w, err := base64.URLEncoding.DecodeString(want)
	g, other := base64.URLEncoding.DecodeString(got)
	switch {
	case err != nil || other != nil:
		return []string{fmt.Sprintf("%s: %v, %v", path, err, other)}
	case len(w) != len(g):
		return []string{fmt.Sprintf("%s: recorded %d bytes, got %d", path, len(w), len(g))}
	}
	for i := range w {
		if w[i] != g[i] {
			end := min(i+16, len(w))
			return []string{fmt.Sprintf("%s: differs from byte %d on: recorded %x, got %x", path, i, w[i:end], g[i:end])}
		}
	}
	return nil
}

// outage says whether a state is one of the two between which a controller without a delay goes to
// and fro while its target is away.
func outage(state any) bool { return state == "failed" || state == "resetting" }

func (b *bindings) compareLists(path string, want, got []any) (diffs []string) {
	if len(want) != len(got) {
		return []string{fmt.Sprintf("%s: recorded %d elements, got %d: %s", path, len(want), len(got), short(got))}
	}
	want, got = inOrder(want), inOrder(got)
	for i := range want {
		diffs = append(diffs, b.compare(fmt.Sprintf("%s[%d]", path, i), want[i], got[i])...)
	}
	return diffs
}

// inOrder sorts what may come in any order: notifications of one type that follow each other. Their
// numbers are those of their places.
func inOrder(list []any) []any {
	out := slices.Clone(list)
	kind := func(v any) string {
		m, _ := v.(map[string]any)
		if m["ctx"] == nil {
			return ""
		}
		t, _ := m["type"].(string)
		return t
	}
	for i := 0; i < len(out); {
		j := i + 1
		for j < len(out) && kind(out[i]) != "" && kind(out[j]) == kind(out[i]) {
			j++
		}
		if kind(out[i]) != "" {
			run := make([]any, 0, j-i)
			for k := i; k < j; k++ {
				m := maps.Clone(out[k].(map[string]any)) //nolint:forcetypeassert // it has a kind
				if n, ok := m["id"].(float64); ok {
					m["id"] = n - float64(k)
				}
				run = append(run, m)
			}
			slices.SortFunc(run, func(a, b any) int {
				return strings.Compare(a.(map[string]any)["ctx"].(string), b.(map[string]any)["ctx"].(string)) //nolint:forcetypeassert // both have a kind
			})
			copy(out[i:j], run)
		}
		i = j
	}
	return out
}

func (b *bindings) compareTexts(path, want, got string) []string {
	wantIDs, gotIDs := uuidText.FindAllString(want, -1), uuidText.FindAllString(got, -1)
	same := want == got
	if !same {
		same = uuidText.ReplaceAllString(want, "#") == uuidText.ReplaceAllString(got, "#")
	}
	if nguidText.MatchString(want) && nguidText.MatchString(got) {
		wantIDs, gotIDs, same = []string{want}, []string{got}, true
	}
	if same && len(wantIDs) == len(gotIDs) {
		for i := range wantIDs {
			same = b.bind(wantIDs[i], gotIDs[i]) && same
		}
	}
	if !same || len(wantIDs) != len(gotIDs) {
		return []string{fmt.Sprintf("%s: recorded %q, got %q", path, want, got)}
	}
	return nil
}

func short(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	if len(text) > 300 {
		text = append(text[:300], "..."...)
	}
	return string(text)
}
