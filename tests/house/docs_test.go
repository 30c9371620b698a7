// SPDX-License-Identifier: Apache-2.0

package house_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEveryFlagOfTheBridgeIsDocumented(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "opi-bridge")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/opi-bridge")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building opi-bridge: %v\n%s", err, out)
	}
	help, err := exec.CommandContext(t.Context(), bin, "serve", "--help").Output()
	if err != nil {
		t.Fatalf("opi-bridge serve --help: %v", err)
	}
	manual, err := os.ReadFile(filepath.Join(root, "docs/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	has := names(regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z-]+)`), string(help))
	has = slices.DeleteFunc(has, func(name string) bool { return name == "help" })
	said := names(regexp.MustCompile("(?m)^\\| `--([a-z-]+)` "), string(manual))
	if !slices.Equal(has, said) {
		t.Errorf("opi-bridge has the flags %q, docs/operations.md lists %q", has, said)
	}
}

func TestLinksBetweenDocumentsLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)
	for _, file := range tree(t, ".md") {
		for _, target := range names(link, string(file.text)) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(file.path), target)); err != nil {
				t.Errorf("%s links to %s, which is not there", file.path, target)
			}
		}
	}
}

func TestMakeTargetsInDocumentsExist(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := names(regexp.MustCompile(`(?m)^([a-z][a-z-]*):`), string(makefile))
	for _, file := range tree(t, ".md", ".go", ".yml") {
		for _, target := range names(regexp.MustCompile("`make ([a-z-]+)`"), string(file.text)) {
			if !slices.Contains(targets, target) {
				t.Errorf("%s speaks of `make %s`, which is not there", file.path, target)
			}
		}
	}
}

// names returns what the group of the expression matched, sorted, each once.
func names(expression *regexp.Regexp, text string) []string {
	var all []string
	for _, match := range expression.FindAllStringSubmatch(text, -1) {
		all = append(all, strings.TrimSpace(match[1]))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
