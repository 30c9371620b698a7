// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bytes"
	"fmt"
)

// Modes as the archive has them.
const (
	modeDir  = 0o040755
	modeFile = 0o100755
	modeChar = 0o020600
	modeLink = 0o120777
)

// archive is a cpio archive in the "newc" format, which the kernel unpacks as its first file system
// (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).
type archive struct {
	buf   bytes.Buffer
	inode int
}

func (a *archive) dir(name string) { a.add(name, modeDir, 0, 0, nil) }

func (a *archive) file(name string, content []byte) { a.add(name, modeFile, 0, 0, content) }

func (a *archive) link(name, target string) { a.add(name, modeLink, 0, 0, []byte(target)) }

func (a *archive) char(name string, major, minor int) { a.add(name, modeChar, major, minor, nil) }

func (a *archive) add(name string, mode, major, minor int, content []byte) {
	a.inode++
	fmt.Fprintf(&a.buf, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.inode, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0, name)
	a.align()
	a.buf.Write(content)
	a.align()
}

func (a *archive) align() {
	for a.buf.Len()%4 != 0 {
		a.buf.WriteByte(0)
	}
}

// bytes ends the archive.
func (a *archive) bytes() []byte {
	a.add("TRAILER!!!", 0, 0, 0, nil)
	return a.buf.Bytes()
}
