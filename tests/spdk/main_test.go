// SPDX-License-Identifier: Apache-2.0

// Package spdk_test replays exchanges that were recorded with a real SPDK against opi-dataplane.
package spdk_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is the program under test, built once with the race detector if the tests have it.
func binary(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(os.Getenv("OPI_TEST_BIN"), "opi-dataplane")
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "spdk")
	if err == nil {
		err = build(dir)
	}
	status := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		status = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(status) //nolint:forbidigo // a TestMain that has work to do before and after
}

func build(dir string) error {
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if raceEnabled {
		args = append(args, "-race")
	}
	args = append(args, "github.com/opi-bridge/opi-bridge/cmd/opi-dataplane")
	out, err := exec.CommandContext(context.Background(), "go", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build opi-dataplane: %w\n%s", err, out)
	}
	return os.Setenv("OPI_TEST_BIN", dir)
}
