// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"strings"
	"testing"
)

func TestTakenPortIsNamed(t *testing.T) {
	l, err := freeLayout(t.Context(), "bin", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.check(t.Context()); err != nil {
		t.Fatalf("free ports are refused: %v", err)
	}
	for what, port := range map[string]int{
		"the storage node's gRPC": l.storage.grpcPort,
		"the dpu node's HTTP":     l.dpu.httpPort,
		"the dpu node's NVMe/TCP": l.dpu.nvmePort,
	} {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address(port))
		if err != nil {
			t.Fatal(err)
		}
		err = l.check(t.Context())
		listener.Close()
		if err == nil || !strings.Contains(err.Error(), address(port)) || !strings.Contains(err.Error(), what) {
			t.Errorf("port %d is taken, and the error for %s is: %v", port, what, err)
		}
	}
}

func TestLongDirectoryIsRefused(t *testing.T) {
	l, err := freeLayout(t.Context(), "bin", "/"+strings.Repeat("deep/", 30))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.check(t.Context()); err == nil || !strings.Contains(err.Error(), "too long for a socket's path") {
		t.Errorf("a path of 160 bytes: %v", err)
	}
}
