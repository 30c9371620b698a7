// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"gopkg.in/yaml.v3"
)

// newResource returns a resource of the kind from a file, if one is given ("-" is stdin), with args
// assigned on top, and the paths that args name.
func (k *kind) newResource(stdin io.Reader, file string, args []string) (proto.Message, []string, error) {
	kindType, err := protoregistry.GlobalTypes.FindMessageByName(k.message.FullName())
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", k.message.FullName(), err)
	}
	m := kindType.New()
	if file != "" {
		if err := fromFile(m, stdin, file); err != nil {
			return nil, nil, err
		}
	}
	paths, err := assign(m, args)
	return m.Interface(), paths, err
}

// fromFile fills m from a file of JSON or YAML, which has JSON within it.
func fromFile(m protoreflect.Message, stdin io.Reader, path string) error {
	var raw []byte
	var err error
	if path == "-" {
		raw, err = readBounded(stdin, "standard input")
	} else {
		raw, err = readFile(path)
	}
	if err != nil {
		return usagef("-f: %w", err)
	}
	var tree any
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	if err := decoder.Decode(&tree); err != nil {
		return usagef("-f %s: %w", path, err)
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return usagef("-f %s: want one resource as JSON or YAML: %w", path, err)
	}
	if err := protojson.Unmarshal(text, m.Interface()); err != nil {
		return usagef("-f %s: %w", path, err)
	}
	return nil
}
