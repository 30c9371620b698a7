// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// TestServeRefuses: settings that make no sense are refused by name, before anything is served.
func TestServeRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := "unix://" + filepath.Join(dir, "rpc.sock")
	for want, settings := range map[string]serveSettings{
		"--spdk-version":   {rpcListen: at, vhostDir: dir, spdkVersion: "24.02"},
		"--without-module": {rpcListen: at, vhostDir: dir, without: []string{"vhosts"}},
		"--rpc-listen":     {rpcListen: "nonsense", vhostDir: dir},
	} {
		settings.log, settings.maxSubsystems = logSettings{level: "info", format: "text"}, 1024
		err := serve(t.Context(), &settings)
		var usage usageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error of usage that names %s", settings, err, want)
		}
	}
}
