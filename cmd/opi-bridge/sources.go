// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

// configFlag names the YAML file; it is the one setting that the file itself cannot hold.
const configFlag = "config"

// envPrefix begins the name of every environment variable that is read.
const envPrefix = "OPI_BRIDGE_"

// maxConfigBytes bounds the YAML file.
const maxConfigBytes = 1 << 20

// envName returns the environment variable of a flag: OPI_BRIDGE_GRPC_LISTEN for --grpc-listen.
func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fill sets the flags that were not given on the command line from the environment, and those that
// are not there either from the YAML file. An empty environment variable counts as absent. All that
// is wrong is returned at once, each with where it stands.
func fill(flags *pflag.FlagSet, env func(string) (string, bool)) error {
	var errs []error
	set := func(name, value, where string) {
		if err := flags.Set(name, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", where, err))
		}
	}
	given := map[string]bool{}
	if err := fromEnvironment(flags, env, given); err != nil {
		errs = append(errs, err)
	}
	path, err := flags.GetString(configFlag)
	if err != nil || path == "" {
		return errors.Join(append(errs, err)...)
	}
	file, err := readConfig(path)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, entry := range file {
		where := fmt.Sprintf("%s:%d: %s", path, entry.line, entry.key)
		switch {
		case entry.key == configFlag || entry.key == "help" || flags.Lookup(entry.key) == nil:
			errs = append(errs, fmt.Errorf("%s is not a setting: those there are %s", where, strings.Join(names(flags), ", ")))
		case !given[entry.key]:
			set(entry.key, entry.value, where)
		}
	}
	return errors.Join(errs...)
}

// fromEnvironment sets the flags that were not given on the command line from the environment, and notes
// in given which have a value then.
func fromEnvironment(flags *pflag.FlagSet, env func(string) (string, bool), given map[string]bool) error {
	var errs []error
	flags.Visit(func(f *pflag.Flag) { given[f.Name] = true })
	flags.VisitAll(func(f *pflag.Flag) {
		if value, ok := env(envName(f.Name)); ok && value != "" && !given[f.Name] && f.Name != "help" {
			given[f.Name] = true
			if err := flags.Set(f.Name, value); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", envName(f.Name), err))
			}
		}
	})
	return errors.Join(errs...)
}

// configEntry is one line of the YAML file.
type configEntry struct {
	key, value string
	line       int
}

// readConfig reads the YAML file: one mapping from the names of flags to scalars.
func readConfig(path string) ([]configEntry, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", configFlag, err)
	}
	defer func() { _ = file.Close() }()
	raw, err := io.ReadAll(io.LimitReader(file, maxConfigBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("--%s: %w", configFlag, err)
	case len(raw) > maxConfigBytes:
		return nil, fmt.Errorf("--%s: %s is larger than %d bytes", configFlag, path, maxConfigBytes)
	}
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: holds more than one document", path)
	}
	return entries(path, document.Content[0])
}

// entries returns the lines of a mapping.
func entries(path string, mapping *yaml.Node) ([]configEntry, error) {
	if mapping.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s: want a mapping from settings to values, as in \"grpc-listen: 127.0.0.1:50051\"", path)
	}
	var all []configEntry
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		if value.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("%s:%d: %s must be a single value", path, value.Line, key.Value)
		}
		if slices.ContainsFunc(all, func(e configEntry) bool { return e.key == key.Value }) {
			return nil, fmt.Errorf("%s:%d: %s stands there twice", path, key.Line, key.Value)
		}
		all = append(all, configEntry{key: key.Value, value: value.Value, line: key.Line})
	}
	return all, nil
}

// names lists the settings that the file may hold.
func names(flags *pflag.FlagSet) []string {
	var all []string
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != configFlag && f.Name != "help" {
			all = append(all, f.Name)
		}
	})
	return all
}
