// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"runtime"
	"runtime/debug"
)

// Build says what a binary was made from.
type Build struct {
	// Version is the module version or what the linker was told; "devel" when nobody said.
	Version string
	// Revision is the commit, with "+dirty" behind it if the tree had changes; empty if unknown.
	Revision string
	// Go is the version of the Go toolchain.
	Go string
}

// ReadBuild returns the build of the running binary. version wins over what the toolchain recorded
// when it is not empty.
func ReadBuild(version string) Build {
	b := Build{Version: version, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if ok {
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
		modified := ""
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.modified":
				if s.Value == "true" {
					modified = "+dirty"
				}
			}
		}
		if b.Revision != "" {
			b.Revision += modified
		}
	}
	if b.Version == "" {
		b.Version = "devel"
	}
	return b
}
