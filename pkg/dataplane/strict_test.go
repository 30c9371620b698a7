// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// TestMethodTable keeps every method, its parameters and how it refuses others where a reviewer can
// see them change.
func TestMethodTable(t *testing.T) {
	s, _ := serve(t)
	var b strings.Builder
	for _, name := range s.order {
		m := s.methods[name]
		fmt.Fprintf(&b, "%s", name)
		switch m.phase {
		case beforeStart:
			b.WriteString(" (before the start)")
		case always:
			b.WriteString(" (before the start too)")
		case afterStart:
		}
		if m.careless {
			b.WriteString(" (parameters are not looked at)\n")
			continue
		}
		if m.optional {
			b.WriteString(" (parameters may be absent)")
		}
		if m.plan != nil && m.plan.lenient {
			b.WriteString(" (unknown keys are skipped)")
		}
		fmt.Fprintf(&b, "\n    refuses with %d %q", m.refusal.code, m.refusal.message)
		if m.refusal.absent != "" {
			fmt.Fprintf(&b, ", absent parameters with %q", m.refusal.absent)
		}
		b.WriteString("\n")
		if m.plan != nil {
			describe(&b, m.plan, "    ")
		}
	}
	golden := filepath.Join("testdata", "methods.txt")
	if *rewrite {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != b.String() {
		t.Errorf("the method table is not that of %s; if that is right, run the test with -rewrite:\n%s", golden, b.String())
	}
}

func describe(b *strings.Builder, p *plan, indent string) {
	for i := range p.fields {
		f := &p.fields[i]
		required := ""
		if f.required {
			required = ", required"
		}
		fmt.Fprintf(b, "%s%s: %s%s\n", indent, f.name, f.kind, required)
		if f.nested != nil {
			describe(b, f.nested, indent+"    ")
		}
	}
}

// sample is a value of each kind of parameter, as JSON.
func sample(f *planField) string {
	switch f.kind {
	case "string", "enum":
		return `"sample"` // no enum has that word
	case "bool":
		return "false"
	case "unsigned", "signed":
		return "1"
	case "uuid":
		return `"11111111-1111-4111-8111-111111111111"`
	case "list":
		return "[]"
	default:
		return object(f.nested, nil)
	}
}

// object writes an object with all required keys of a plan, and those of with.
func object(p *plan, with map[string]string, without ...string) string {
	members := make(map[string]string)
	for i := range p.fields {
		if f := &p.fields[i]; f.required {
			members[f.name] = sample(f)
		}
	}
	maps.Copy(members, with)
	for _, name := range without {
		delete(members, name)
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		list = append(list, fmt.Sprintf("%q:%s", name, members[name]))
	}
	return "{" + strings.Join(list, ",") + "}"
}

// wrongFor are values that a kind of parameter does not take.
func wrongFor(kind string) []string {
	values := []string{"null", "true", "-1", "8.5", "1e400", "18446744073709551616", `"1"`, `"a\u0000b"`, "[1]", `{"a":1}`}
	right := map[string][]string{
		"string": {`"1"`}, "bool": {"true"}, "unsigned": {}, "signed": {"-1"},
	}
	return slices.DeleteFunc(values, func(v string) bool { return slices.Contains(right[kind], v) })
}

// badParams lists parameters that a method must refuse, by what is wrong with them.
func badParams(m *method) map[string]string {
	bad := map[string]string{"array": "[]"}
	if m.plan == nil {
		bad["empty object"] = "{}"
		return bad
	}
	if !m.optional {
		bad["absent"] = ""
	}
	if !m.plan.lenient {
		bad["unknown key"] = object(m.plan, map[string]string{"no_such_key": "1"})
	}
	spoil(m.plan, bad, "", func(inner string) string { return inner })
	return bad
}

// spoil adds what can be wrong with the keys of a plan; around puts an object of the plan where it
// belongs.
func spoil(p *plan, bad map[string]string, at string, around func(string) string) {
	for i := range p.fields {
		f := &p.fields[i]
		name := at + f.name
		if f.required {
			bad["without "+name] = around(object(p, nil, f.name))
		}
		for _, wrong := range wrongFor(f.kind) {
			bad[name+" is "+wrong] = around(object(p, map[string]string{f.name: wrong}))
		}
		bad[name+" twice"] = around(strings.TrimSuffix(object(p, map[string]string{f.name: sample(f)}), "}") +
			fmt.Sprintf(",%q:%s}", f.name, sample(f)))
		if f.nested != nil {
			bad[name+" with an unknown key"] = around(object(p, map[string]string{
				f.name: object(f.nested, map[string]string{"no_such_key": "1"}),
			}))
			spoil(f.nested, bad, name+".", func(inner string) string {
				return around(object(p, map[string]string{f.name: inner}))
			})
		}
	}
}

// TestEveryMethodIsStrict walks over all methods and all their keys: whatever is wrong with the
// parameters, the answer is the method's one refusal, and nothing has been done.
func TestEveryMethodIsStrict(t *testing.T) {
	s, path := serve(t)
	c := dial(t, path)
	tried := 0
	for _, name := range s.order {
		m := s.methods[name]
		if m.careless || m.phase == beforeStart {
			continue
		}
		for what, params := range badParams(m) {
			tried++
			want := m.refusal.message
			if params == "" && m.refusal.absent != "" {
				want = m.refusal.absent
			}
			a := c.call(name, params)
			if a.Error.Code != m.refusal.code || a.Error.Message != want {
				t.Errorf("%s, %s: %s\n    answered %d %q %s, want %d %q",
					name, what, params, a.Error.Code, a.Error.Message, a.Result, m.refusal.code, want)
			}
		}
	}
	t.Logf("%d calls to %d methods", tried, len(s.order))
	if bdevs := string(c.must("bdev_get_bdevs", "")); bdevs != "[]" {
		t.Errorf("bad parameters made bdevs: %s", bdevs)
	}
}
