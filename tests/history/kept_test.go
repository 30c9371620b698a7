// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// keptDir is where histories are kept that have failed once, in the words in which they are printed: a line
// for each moment, comments behind "#". They do not depend on how new ones are drawn.
const keptDir = "testdata/kept"

// kept returns the histories that have failed once, by file. One that says what there is no more fails the
// test: it would be another history.
func kept(t *testing.T, all []*shape) map[string]script {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(keptDir, "*.txt"))
	must(t, err)
	scripts := map[string]script{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		s, err := parseScript(string(text), all)
		if err != nil {
			t.Fatalf("%s is no history any more: %v: say it in the words of today, or delete it and say why", file, err)
		}
		scripts[file] = s
	}
	if len(scripts) == 0 {
		t.Fatalf("no histories in %s", keptDir)
	}
	return scripts
}

// keep writes a history that has failed to where every later run makes it again.
func keep(t *testing.T, s script, bad string) {
	t.Helper()
	text := s.text()
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(text))
	path := filepath.Join(keptDir, fmt.Sprintf("found-%08x.txt", sum.Sum32()))
	first, _, _ := strings.Cut(bad, "\n")
	if err := os.WriteFile(path, fmt.Appendf(nil, "# %s\n%s", first, text), 0o600); err != nil {
		t.Errorf("the history is not kept: %v", err)
		return
	}
	t.Logf("every run makes this history again: tests/history/%s", path)
}

func (s script) text() string {
	var b strings.Builder
	for _, m := range s {
		fmt.Fprintln(&b, m)
	}
	return b.String()
}

// parseScript is the reverse of text.
func parseScript(text string, all []*shape) (script, error) {
	var s script
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		m, err := parseMoment(line, all)
		if err == nil && m.String() != line {
			err = fmt.Errorf("it would be %q", m)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d, %q: %w", n+1, line, err)
		}
		s = append(s, m)
	}
	return s, nil
}

func parseMoment(line string, all []*shape) (m moment, err error) {
	line, m.settle = strings.CutSuffix(line, " .")
	if before, in, ok := strings.Cut(line, " ["); ok {
		line = before
		for f := range faultCount {
			if f.String() == strings.TrimSuffix(in, "]") {
				m.fault = f
			}
		}
		if m.fault == none {
			return m, fmt.Errorf("there is no fault %q", in)
		}
	}
	for part := range strings.SplitSeq(line, " | ") {
		c, err := parseCall(part, all)
		if err != nil {
			return m, err
		}
		m.calls = append(m.calls, c)
	}
	if len(m.calls) > maxAtOnce {
		return m, fmt.Errorf("more than %d requests at once", maxAtOnce)
	}
	return m, nil
}

// parseCall reads what call.String has written. Whoever calls it compares: what is not read is noticed.
func parseCall(text string, all []*shape) (c call, err error) {
	text, c.missOK = strings.CutSuffix(text, " (missing is fine)")
	words := strings.Fields(text)
	if len(words) < 2 {
		return c, fmt.Errorf("%q is no request", text)
	}
	c.verb = words[0]
	path := strings.Split(words[1], "/")
	if c.verb != "list" {
		path, c.id = path[:len(path)-1], path[len(path)-1]
	}
	if len(path) == 0 {
		return c, fmt.Errorf("%q is no name", words[1])
	}
	collection := path[len(path)-1]
	c.parent = strings.Join(path[:len(path)-1], "/")
	i := slices.IndexFunc(all, func(s *shape) bool { return s.collection == collection && (s.above == "") == (c.parent == "") })
	if i < 0 || !slices.Contains([]string{"create", "update", "delete", "get", "list", "stats"}, c.verb) {
		return c, fmt.Errorf("there is no %s of %s", c.verb, words[1])
	}
	c.shape = all[i]
	for i := 2; i+1 < len(words) && err == nil; i += 2 {
		switch value := words[i+1]; words[i] {
		case "as":
			if c.body, err = strconv.Atoi(value); err == nil && (c.body < 0 || c.body >= len(c.shape.bodies)) {
				err = fmt.Errorf("%s have no example %d", collection, c.body)
			}
		case "by":
			var size int64
			size, err = strconv.ParseInt(value, 10, 32)
			c.pageSize = int32(size)
		case "on":
			c.ref, err = strconv.Unquote(value)
		case "mask":
			c.mask = strings.Split(value, ",")
		}
	}
	return c, err
}

// TestKeptHistoriesAreRead: what is printed of a history is enough to make it again, and what cannot be
// made any more is noticed.
func TestKeptHistoriesAreRead(t *testing.T) {
	all := shapes()
	good := `create mallocVolumes/mem-1 as 0
create nvmeSubsystems/sub-1/nvmeNamespaces/disk-1 as 0 on "" | list nvmeSubsystems/sub-1/nvmeNamespaces by -1 [store restarted] .
update nvmeSubsystems/sub-2 as 1 mask spec.hostnqn,* (missing is fine) | delete nullVolumes/null-1 (missing is fine)
stats nvmeRemoteControllers/far-1/nvmePaths/path-2 | get qosVolumes/slow-1 [bridge killed]
`
	s, err := parseScript("# why\n"+good, all)
	if err != nil || s.text() != good {
		t.Errorf("read as:\n%s%v", s.text(), err)
	}
	for _, bad := range []string{
		"create", "create mallocVolumes/mem-1", "create nothings/one as 0", "create mallocVolumes/mem-1 as 99", "turn mallocVolumes/mem-1",
		"get nvmeNamespaces/disk-1", "get mallocVolumes/mem-1 [earthquake]", "get mallocVolumes/mem-1 as 0", "get mallocVolumes/mem-1 at once", "list mallocVolumes by two",
	} {
		if s, err := parseScript(bad, all); err == nil {
			t.Errorf("%q is read as %s", bad, s.text())
		}
	}
}

// replay makes the histories again that have failed once.
func (h *historian) replay(all map[string]script) {
	h.t.Helper()
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare)
	for _, name := range names {
		again := &historian{rig: h.rig, all: h.all}
		again.reset()
		again.reset()
		if bad := again.play(all[name]); bad != "" {
			counted.add(func(c *tally) { c.wrong++ })
			h.t.Fatalf("violation in %s: %s", name, bad)
		}
	}
}
