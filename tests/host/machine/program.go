// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bufio"
	"bytes"
	"os/exec"
	"path"
	"strings"
	"testing"
)

// Libraries is where programs of this machine find their libraries in a guest, as Config.Files has it.
const Libraries = "usr/lib/"

// Programs returns what a guest needs to run programs that run on this machine, as bin/<name>, for
// Config.Files: themselves, and the loader and libraries that this machine's loader finds for them and
// for the further libraries, which programs load by themselves.
func Programs(tb testing.TB, programs []string, further ...string) map[string]string {
	tb.Helper()
	files := map[string]string{}
	for _, program := range programs {
		files["bin/"+path.Base(program)] = program
	}
	for _, one := range append(programs, further...) {
		out, err := exec.CommandContext(tb.Context(), "ldd", one).CombinedOutput() //nolint:gosec // what the test was given
		if err != nil {
			tb.Fatalf("look for the libraries of %s: %v: %s", one, err, out)
		}
		for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
			name, found, _ := strings.Cut(strings.TrimSpace(lines.Text()), " => ")
			found, _, _ = strings.Cut(found, " (")
			switch loader, _, _ := strings.Cut(name, " ("); {
			case strings.HasPrefix(found, "/"):
				files[Libraries+name] = found
			case found != "":
				tb.Fatalf("%s needs %s, which the loader does not find: is LD_LIBRARY_PATH to be set?", one, name)
			case strings.HasPrefix(loader, "/"):
				files[strings.TrimPrefix(loader, "/")] = loader
			}
		}
	}
	return files
}
