// SPDX-License-Identifier: Apache-2.0

// Package house_test holds the rules of the house that no compiler and no linter knows: which room
// may import which, what each source file starts with, how long it may grow.
package house_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the top of the source tree, seen from this package's directory.
const root = "../.."

// generatedLine is how the first lines of a generated Go file say so.
var generatedLine = regexp.MustCompile(`(?m)^// Code generated (.*)DO NOT EDIT\.$`)

// source is one text file of the tree.
type source struct {
	// path is relative to the top, with slashes.
	path string
	text []byte
}

// generated says whether a program wrote the file.
func (s source) generated() bool { return generatedLine.Match(s.text) }

// lines returns the number of lines.
func (s source) lines() int { return bytes.Count(s.text, []byte("\n")) }

// tree returns all text files of the source tree with one of the suffixes, or all text files if
// none is given. What builds and runs leave behind (hidden folders but .ci, bin) is not part of it.
func tree(t *testing.T, suffixes ...string) []source {
	t.Helper()
	var files []source
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			hidden := strings.HasPrefix(entry.Name(), ".") && relative != "." && relative != ".ci"
			if hidden || relative == "bin" {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() || !hasSuffix(relative, suffixes) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.IndexByte(text, 0) < 0 {
			files = append(files, source{filepath.ToSlash(relative), text})
		}
		return nil
	})
	if err != nil {
		t.Fatalf("walking the tree: %v", err)
	}
	if len(files) == 0 {
		t.Fatalf("no files with suffix %q below %s", suffixes, root)
	}
	return files
}

func hasSuffix(path string, suffixes []string) bool {
	for _, suffix := range suffixes {
		if strings.HasSuffix(path, suffix) {
			return true
		}
	}
	return len(suffixes) == 0
}
