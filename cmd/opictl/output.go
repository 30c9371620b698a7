// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"gopkg.in/yaml.v3"
)

// checkOutput refuses an unknown --output before anything is done.
func (s *session) checkOutput() error {
	switch s.output {
	case "table", "json", "yaml":
		return nil
	}
	return usagef("output %q: want table, json or yaml", s.output)
}

// show writes resources of one type. A single one is an object in JSON and YAML, several are a list.
func (s *session) show(w io.Writer, items []protoreflect.Message, list bool) error {
	if s.output == "table" {
		return printTable(w, items)
	}
	parts := make([]json.RawMessage, 0, len(items))
	for _, item := range items {
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(item.Interface())
		if err != nil {
			return fmt.Errorf("printing: %w", err)
		}
		parts = append(parts, text)
	}
	var whole any = parts
	if !list && len(parts) == 1 {
		whole = parts[0]
	}
	return printTree(w, whole, s.output)
}

// printTree writes anything that has a JSON form, as JSON or YAML, fields in their order.
func printTree(w io.Writer, tree any, format string) error {
	text, err := json.Marshal(tree)
	if err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	if format == "json" {
		var indented bytes.Buffer
		if err := json.Indent(&indented, text, "", "  "); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
		_, err := fmt.Fprintln(w, indented.String())
		return err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	blockStyle(&node)
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(&node); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return encoder.Close()
}

// blockStyle makes a tree that was read as JSON look like YAML.
func blockStyle(node *yaml.Node) {
	empty := node.Kind != yaml.ScalarNode && len(node.Content) == 0
	if !empty { // which has no block form
		node.Style = 0
	}
	for _, child := range node.Content {
		blockStyle(child)
	}
}

// printTable writes a line for each resource and a column for each field that one of them has set.
func printTable(w io.Writer, items []protoreflect.Message) error {
	if len(items) == 0 {
		_, err := fmt.Fprintln(w, "nothing there")
		return err
	}
	set := map[string]bool{"name": true}
	rows := make([]map[string]string, 0, len(items))
	for _, item := range items {
		row := map[string]string{}
		cells(item, "", row)
		for path := range row {
			set[path] = true
		}
		rows = append(rows, row)
	}
	columns := order(items[0].Descriptor(), "", set)
	table := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
	headings := make([]string, 0, len(columns))
	for _, path := range columns {
		headings = append(headings, heading(path, columns))
	}
	fmt.Fprintln(table, strings.Join(headings, "\t"))
	for _, row := range rows {
		line := make([]string, 0, len(columns))
		for _, path := range columns {
			cell := row[path]
			if cell == "" {
				cell = "-"
			}
			line = append(line, cell)
		}
		fmt.Fprintln(table, strings.Join(line, "\t"))
	}
	return table.Flush()
}

// heading returns the title of a column: the field's own name, in capitals, with as much of the path
// before it as sets it apart from the other columns.
func heading(path string, columns []string) string {
	parts := strings.Split(path, ".")
	for n := 1; n <= len(parts); n++ {
		tail := strings.Join(parts[len(parts)-n:], ".")
		same := 0
		for _, c := range columns {
			if c == tail || strings.HasSuffix(c, "."+tail) {
				same++
			}
		}
		if same == 1 {
			return strings.ToUpper(tail)
		}
	}
	return strings.ToUpper(path)
}

// cells collects the set fields of a message by path.
func cells(m protoreflect.Message, prefix string, row map[string]string) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		path := prefix + string(fd.Name())
		switch {
		case plain(fd):
			row[path] = text(fd, v)
		default:
			if empty(v.Message()) {
				row[path] = "set"
				return true
			}
			cells(v.Message(), path+".", row)
		}
		return true
	})
}

// order returns the paths in set in the order of their declaration.
func order(desc protoreflect.MessageDescriptor, prefix string, set map[string]bool) []string {
	var all []string
	for i := range desc.Fields().Len() {
		fd := desc.Fields().Get(i)
		path := prefix + string(fd.Name())
		if set[path] {
			all = append(all, path)
		}
		if !plain(fd) {
			all = append(all, order(fd.Message(), path+".", set)...)
		}
	}
	return all
}

// plain says whether a field is shown in one cell: all but messages of the API itself.
func plain(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() == nil || fd.IsList() || fd.IsMap() || strings.HasPrefix(string(fd.Message().FullName()), "google.protobuf.")
}

func empty(m protoreflect.Message) bool { return proto.Size(m.Interface()) == 0 }

// text returns a value as one cell. Tabs and line ends in it would break the table.
func text(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch {
	case fd.IsList():
		parts := make([]string, 0, v.List().Len())
		for i := range v.List().Len() {
			parts = append(parts, scalar(fd, v.List().Get(i)))
		}
		return strings.Join(parts, ",")
	case fd.IsMap():
		return fmt.Sprintf("%d entries", v.Map().Len())
	}
	return scalar(fd, v)
}

func scalar(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch {
	case fd.Enum() != nil:
		if value := fd.Enum().Values().ByNumber(v.Enum()); value != nil {
			prefix := strings.TrimSuffix(string(fd.Enum().Values().Get(0).Name()), "UNSPECIFIED")
			return strings.TrimPrefix(string(value.Name()), prefix)
		}
		return fmt.Sprint(v.Enum())
	case fd.Kind() == protoreflect.BytesKind:
		return base64.StdEncoding.EncodeToString(v.Bytes())
	case fd.Message() != nil:
		raw, err := protojson.Marshal(v.Message().Interface())
		if err != nil {
			return err.Error()
		}
		return strings.Trim(string(raw), `"`)
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return '?'
		}
		return r
	}, v.String())
}
