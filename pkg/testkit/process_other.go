// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package testkit

import "syscall"

// childAttributes has nothing to offer here: a child outlives a test process that is killed.
func childAttributes() *syscall.SysProcAttr { return nil }

// stands cannot be told here.
func stands(int) error { return nil }
