// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// call is a request, as it is drawn: which one it is does not depend on what has happened before, so
// that a history can be cut down.
type call struct {
	verb     string // create, update, delete, get, list, stats
	shape    *shape
	parent   string
	id       string
	body     int // which of the shape's
	ref      string
	mask     []string
	missOK   bool
	pageSize int32
}

func (c call) name() string {
	name := c.shape.collection + "/" + c.id
	if c.parent != "" {
		name = c.parent + "/" + name
	}
	return name
}

func (c call) String() string {
	switch c.verb {
	case "list":
		return fmt.Sprintf("list %s%s by %d", maybe(c.parent != "", c.parent+"/"), c.shape.collection, c.pageSize)
	case "create", "update":
	default:
		return c.verb + " " + c.name() + maybe(c.missOK, " (missing is fine)")
	}
	s := fmt.Sprintf("%s %s as %d", c.verb, c.name(), c.body)
	if c.shape.ref != "" {
		s += fmt.Sprintf(" on %q", c.ref)
	}
	if c.verb == "update" {
		s += " mask " + strings.Join(c.mask, ",") + maybe(c.missOK, " (missing is fine)")
	}
	return s
}

func maybe(yes bool, s string) string {
	if yes {
		return s
	}
	return ""
}

// moment is requests at the same time, each by a client of its own, and what goes wrong meanwhile.
type moment struct {
	calls []call
	fault fault
	// settle waits until nothing is in doubt any more before the next moment.
	settle bool
}

func (m moment) String() string {
	parts := make([]string, len(m.calls))
	for i, c := range m.calls {
		parts[i] = c.String()
	}
	return strings.Join(parts, " | ") + maybe(m.fault != none, " ["+m.fault.String()+"]") + maybe(m.settle, " .")
}

// script is a history to be made. It prints shortly.
type script []moment

// GoString implements fmt.GoStringer, which is how rapid shows what it has drawn.
func (s script) GoString() string {
	lines := make([]string, len(s))
	for i, m := range s {
		lines[i] = "\n  " + m.String()
	}
	return fmt.Sprintf("%d moments%s", len(s), strings.Join(lines, ""))
}

// maxMoments and maxAtOnce bound a script.
const (
	maxMoments = 40
	maxAtOnce  = 3
)

// drawScript draws a history. Most begin with something of many kinds, so that there is something to refer to.
func drawScript(all []*shape) *rapid.Generator[script] {
	one := rapid.Custom(func(t *rapid.T) call { return drawCall(t, all) })
	return rapid.Custom(func(t *rapid.T) script {
		var s script
		for _, first := range furniture(all) {
			if rapid.IntRange(0, 4).Draw(t, "made first") > 0 {
				s = append(s, moment{calls: []call{first}})
			}
		}
		return append(s, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) moment {
			m := moment{calls: rapid.SliceOfN(one, 1, maxAtOnce).Draw(t, "calls")}
			if rapid.IntRange(0, 9).Draw(t, "faulty") == 9 {
				m.fault = rapid.SampledFrom(drawnFaults()).Draw(t, "fault")
				m.settle = rapid.Bool().Draw(t, "settle")
			}
			return m
		}), 1, maxMoments).Draw(t, "moments")...)
	})
}

// furniture is a disk, and more volumes.
func furniture(all []*shape) []call {
	var calls []call
	for _, f := range []struct{ collection, id, ref string }{
		{"mallocVolumes", "mem-1", ""},
		{"mallocVolumes", "mem-2", ""},
		{"nullVolumes", "null-1", ""},
		{"nvmeSubsystems", "sub-1", ""},
		{"qosVolumes", "slow-1", "mallocVolumes/mem-1"},
		{"nvmeNamespaces", "disk-1", "mallocVolumes/mem-1"},
		{"virtioScsiTargets", "scsi-1", ""},
		{"nvmeRemoteControllers", "far-1", ""},
	} {
		for _, s := range all {
			if s.collection != f.collection {
				continue
			}
			c := call{verb: "create", shape: s, id: f.id, ref: f.ref}
			if len(s.parents) > 0 {
				c.parent = s.parents[0]
			}
			calls = append(calls, c)
		}
	}
	return calls
}

func drawCall(t *rapid.T, all []*shape) call {
	c := call{shape: rapid.SampledFrom(all).Draw(t, "kind")}
	c.verb = rapid.SampledFrom([]string{"create", "create", "create", "update", "update", "delete", "delete", "get", "list", "stats"}).Draw(t, "verb")
	c.id = rapid.SampledFrom(append([]string{}, c.shape.ids...)).Draw(t, "id")
	if c.verb == "create" && rapid.IntRange(0, 30).Draw(t, "odd id") == 30 {
		c.id = "Odd_"
	}
	if len(c.shape.parents) > 0 {
		c.parent = rapid.SampledFrom(c.shape.parents).Draw(t, "parent")
	}
	switch c.verb {
	case "create", "update":
		drawBody(t, &c)
	case "delete":
		c.missOK = rapid.Bool().Draw(t, "missing is fine")
	case "list":
		c.pageSize = rapid.SampledFrom([]int32{0, 1, 2, -1, 2000}).Draw(t, "page size")
	}
	return c
}

func drawBody(t *rapid.T, c *call) {
	c.body = rapid.IntRange(0, len(c.shape.bodies)-1).Draw(t, "body")
	if c.shape.ref != "" {
		c.ref = rapid.SampledFrom(volumes).Draw(t, "volume")
		if rapid.IntRange(0, 12).Draw(t, "odd volume") == 12 {
			c.ref = rapid.SampledFrom([]string{"mallocVolumes/none", "nobody", "nvmeSubsystems/sub-1", ""}).Draw(t, "no volume")
		}
	}
	if c.verb != "update" {
		return
	}
	c.missOK = rapid.IntRange(0, 3).Draw(t, "may create") == 3
	masks := [][]string{{"*"}, {"no_such_field"}}
	for range 2 {
		for _, path := range c.shape.mutable {
			masks = append(masks, []string{path})
		}
	}
	c.mask = rapid.SampledFrom(masks).Draw(t, "mask")
}
