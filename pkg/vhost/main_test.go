// SPDX-License-Identifier: Apache-2.0

package vhost_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or, in a process that a test has started, the back end that the test will
// kill.
func TestMain(m *testing.M) {
	if dir := os.Getenv(backendEnv); dir != "" {
		if err := runBackend(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1) //nolint:forbidigo // this process is a program
		}
		return
	}
	goleak.VerifyTestMain(m)
}
