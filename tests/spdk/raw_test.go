// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

// silence is how long nothing comes before we believe that nothing will.
const silence = 150 * time.Millisecond

// raw replays bytes that were sent on a connection of their own.
func (r *replay) raw(s *step) {
	r.Helper()
	if r.skip(s) {
		return
	}
	conn := r.instance("").dial()
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	var wantText strings.Builder
	for _, part := range s.Recv {
		wantText.WriteString(text(part[1]))
	}
	want, whole := lines(wantText.String())
	began := time.Now()
	for _, part := range s.Send {
		at, _ := part[0].(float64)
		pause(r.T, time.Until(began.Add(time.Duration(at)*time.Millisecond))) // the recording's own pace
		if _, err := io.WriteString(conn, r.ports.out(r.unabridged(s, text(part[1])), r.dir)); err != nil {
			break // the server has closed it; what was received tells
		}
	}
	if s.HalfClose {
		if err := conn.(*net.UnixConn).CloseWrite(); err != nil { //nolint:forcetypeassert // a unix socket
			r.Fatal(err)
		}
	}
	r.replayed++
	if reason := unjudged()[r.file+"/"+s.Step]; reason != "" {
		r.Logf("%s: not compared: %s", s.Step, reason)
		r.drain(s, conn)
		return
	}
	r.judgeRaw(s, conn, want, whole)
}

// judgeRaw reads what comes and compares it with the recorded lines.
func (r *replay) judgeRaw(s *step, conn net.Conn, want []any, whole bool) {
	r.Helper()
	answers := json.NewDecoder(conn)
	var got []any
	for whole && len(got) < len(want) {
		var a json.RawMessage
		if err := answers.Decode(&a); err != nil {
			r.Errorf("%s: answer %d of %d: %v", s.Step, len(got)+1, len(want), err)
			return
		}
		var v any
		if err := json.Unmarshal([]byte(r.ports.in(string(a), r.dir)), &v); err != nil {
			r.Fatal(err)
		}
		got = append(got, v)
	}
	closed := s.ClosedByServer != nil
	if !closed && len(got) > 0 {
		r.wantNoMore(s, conn, answers)
		r.compareLines(s, want, got)
		return
	}
	if !closed {
		_ = conn.SetReadDeadline(time.Now().Add(silence))
	}
	rest, err := io.ReadAll(io.MultiReader(answers.Buffered(), conn))
	if whole && len(strings.TrimSpace(string(rest))) > 0 {
		r.Errorf("%s: after what was recorded came %.300q", s.Step, rest)
	}
	if timedOut := isTimeout(err); closed == timedOut {
		r.Errorf("%s: closed by the server: %t, recorded %t (%v)", s.Step, !timedOut, closed, err)
	}
	if whole {
		r.compareLines(s, want, got)
	} else if n := strings.Count(string(rest), "\n"); !strings.Contains(text(s.Recv[0][1]), fmt.Sprintf("in %d lines)", n)) {
		r.Errorf("%s: %d lines came, recorded %s", s.Step, n, text(s.Recv[0][1]))
	}
}

// wantNoMore sends a further request: the next answer is to that one, if nothing else was on its way.
func (r *replay) wantNoMore(s *step, conn net.Conn, answers *json.Decoder) {
	r.Helper()
	if _, err := io.WriteString(conn, `{"id":"the last","method":"spdk_get_version"}`); err != nil {
		r.Errorf("%s: closed by the server, which was not recorded: %v", s.Step, err)
		return
	}
	var last struct{ ID any }
	if err := answers.Decode(&last); err != nil || last.ID != "the last" {
		r.Errorf("%s: after what was recorded came an answer to %v (%v)", s.Step, last.ID, err)
	}
}

// drain reads until all calls that were sent have been answered, or the server closes.
func (r *replay) drain(s *step, conn net.Conn) {
	answers := json.NewDecoder(conn)
	for range strings.Count(text(s.Send[0][1]), `"method"`) {
		var a json.RawMessage
		if err := answers.Decode(&a); err != nil {
			if !s.HalfClose {
				r.Errorf("%s: %v", s.Step, err)
			}
			return
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error) //nolint:errorlint // ReadAll returns it as it is
	return ok && timeout.Timeout()
}

// compareLines compares answers in order, or by id where asynchronous ones overtake each other as
// they like.
func (r *replay) compareLines(s *step, want, got []any) {
	r.Helper()
	if strings.HasPrefix(s.Step, "same-") || strings.HasPrefix(s.Step, "attach-") || strings.HasPrefix(s.Step, "order-dependent") {
		byID := func(a, b any) int { return strings.Compare(fmt.Sprint(id(a)), fmt.Sprint(id(b))) }
		slices.SortStableFunc(want, byID)
		slices.SortStableFunc(got, byID)
	}
	if s.Step == "attach-two-names-parallel" {
		// Which of the two gets the bdev is open.
		want, got = results(want), results(got)
	}
	for i := range want {
		for _, v := range []any{want[i], got[i]} {
			withoutVersion(v)
		}
		if diffs := r.bindings.compare(fmt.Sprintf("answer %d", i), want[i], got[i]); len(diffs) > 0 {
			r.Errorf("%s: %s", s.Step, strings.Join(diffs, "\n    "))
		}
	}
}

func id(v any) any {
	m, _ := v.(map[string]any)
	return m["id"]
}

// results returns the number of bdevs in each result, sorted.
func results(answers []any) (out []any) {
	for _, a := range answers {
		m, _ := a.(map[string]any)
		list, _ := m["result"].([]any)
		out = append(out, float64(len(list)))
	}
	slices.SortFunc(out, func(a, b any) int { return int(a.(float64) - b.(float64)) }) //nolint:forcetypeassert // made above
	return out
}

// withoutVersion takes out of an answer who gave it.
func withoutVersion(v any) {
	if list, ok := v.([]any); ok {
		for _, one := range list {
			withoutVersion(one)
		}
		return
	}
	m, _ := v.(map[string]any)
	result, _ := m["result"].(map[string]any)
	fields, _ := result["fields"].(map[string]any)
	delete(result, "version")
	delete(fields, "commit")
}

// lines parses recorded answers. It reports false when the recording has only their beginning.
func lines(s string) (out []any, whole bool) {
	if strings.HasSuffix(s, " lines)") {
		return nil, false
	}
	for line := range strings.Lines(s) {
		var v any
		if json.Unmarshal([]byte(line), &v) != nil {
			return nil, false
		}
		out = append(out, v)
	}
	return out, true
}

// unabridged returns what was sent where the recording only says how much it was.
func (r *replay) unabridged(s *step, sent string) string {
	if !strings.HasSuffix(sent, " bytes)") {
		return sent
	}
	var size int
	if _, err := fmt.Sscanf(sent[strings.LastIndex(sent, "(")+1:], "%d bytes)", &size); err != nil {
		r.Fatalf("%s: %v", s.Step, err)
	}
	const version = `"method":"spdk_get_version"}`
	var b strings.Builder
	switch name, count, _ := strings.Cut(s.Step, "-"); {
	case s.Step == "half-close-big-answer":
		for i := range 60 {
			fmt.Fprintf(&b, `{"jsonrpc":"2.0","id":%d,"method":"rpc_get_methods"}`, i+1)
		}
		return b.String()
	case name == "pipeline":
		for i := range 200 {
			fmt.Fprintf(&b, `{"jsonrpc":"2.0","id":%d,`+version, i)
		}
		return b.String()
	case name == "values":
		var n int
		_, _ = fmt.Sscan(count, &n)
		return `{"jsonrpc":"2.0","id":1,"method":"bdev_get_iostat","params":{"names":["a"` +
			strings.Repeat(`,"a"`, n-1) + `]}}`
	case s.Step == "size-spaces":
		request := `{"jsonrpc":"2.0","id":1,` + version
		return strings.Repeat(" ", size-len(request)) + request
	default:
		head, tail := `{"jsonrpc":"2.0","id":1,"method":"bdev_get_bdevs","params":{"name":"`, `"}}`
		return head + strings.Repeat("x", size-len(head)-len(tail)) + tail
	}
}
