// SPDX-License-Identifier: Apache-2.0

package testkit

import "syscall"

// childAttributes makes the kernel kill the child when the test process dies, however it dies.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
