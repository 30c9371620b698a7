// SPDX-License-Identifier: Apache-2.0

package jsonrpc_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
)

// TestNobodyAtUnixSocket: however long a server of this machine is away, it is looked for often.
func TestNobodyAtUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "nobody")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		attempts := 0
		client, err := jsonrpc.NewClient(jsonrpc.ClientConfig{
			Network: "unix", Address: socket, Log: slog.New(slog.DiscardHandler), OnDown: func(error) { attempts++ },
		})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- client.Run(ctx) }()
		const away = time.Minute
		<-time.After(away) // of the time in the bubble
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if least := int(away / jsonrpc.DefaultMinBackoff); attempts < least {
			t.Errorf("%d attempts in %v, want at least %d", attempts, away, least)
		}
	})
}
