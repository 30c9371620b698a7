// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// childAttributes makes the kernel kill the child when the test process dies, however it dies.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// stands returns an error unless every thread of the process stands still: on a busy machine that is
// a good while after SIGSTOP was sent, for one of them must run to stop the others.
func stands(pid int) error {
	threads, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "stat"))
	if err != nil {
		return err
	}
	for _, file := range threads {
		stat, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		// The state stands behind the name, which is in parentheses and may hold some, too.
		if after := stat[bytes.LastIndexByte(stat, ')')+1:]; !bytes.HasPrefix(after, []byte(" T")) {
			return fmt.Errorf("%s says%.3s", file, after)
		}
	}
	return nil
}
