// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// locksFile lists all locks on files; its format is in proc_locks(5).
const locksFile = "/proc/locks"

// owner names the process that has the lock on the file, as " (pid 12, opi-bridge)", or nothing when
// that cannot be seen, as for a process in another container.
func owner(path string) string {
	var stat syscall.Stat_t
	if err := syscall.Stat(path, &stat); err != nil {
		return ""
	}
	locks, err := os.Open(locksFile)
	if err != nil {
		return ""
	}
	defer func() { _ = locks.Close() }()
	pid := lockOwner(locks, stat.Ino)
	if pid == "" {
		return ""
	}
	name, err := os.ReadFile("/proc/" + pid + "/comm") //nolint:gosec // a number that the kernel gave
	if err != nil {
		return " (pid " + pid + ")"
	}
	return fmt.Sprintf(" (pid %s, %s)", pid, strings.TrimSpace(string(name)))
}

// lockOwner finds who has the flock on an inode. Lines are "<n>: FLOCK ADVISORY WRITE <pid>
// <major>:<minor>:<inode> 0 EOF"; those of processes that wait begin with "<n>: ->".
func lockOwner(locks io.Reader, inode uint64) string {
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 6 && fields[1] == "FLOCK" && fields[4] != "0" && fields[4] != "-1" &&
			strings.HasSuffix(fields[5], fmt.Sprintf(":%d", inode)) {
			return fields[4]
		}
	}
	return ""
}
