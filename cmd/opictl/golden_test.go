// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/opi-bridge/opi-bridge/pkg/api"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/engine"
	declared "github.com/opi-bridge/opi-bridge/pkg/kinds"
	"github.com/opi-bridge/opi-bridge/pkg/server"
	"github.com/opi-bridge/opi-bridge/pkg/store/bolt"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// bridge starts a bridge on a data plane of its own and returns its gRPC and HTTP addresses. The
// UUIDs that it makes up count from 1. Without own it has OPI's services only, as other servers do.
func bridge(t *testing.T, own bool) (grpcAddr, httpAddr string) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	plane := testkit.DataPlane(t)
	records, err := bolt.New(bolt.Config{URL: "bolt://" + filepath.Join(t.TempDir(), "state.db")})
	must(t, err)
	driver, err := spdk.New(spdk.Config{Network: "unix", Address: plane.Socket(), Log: log})
	must(t, err)
	all, err := declared.All()
	must(t, err)
	var made atomic.Int64
	eng, err := engine.New(engine.Config{
		Driver: driver, Store: records, Kinds: all, Log: log,
		NewUUID: func() string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", made.Add(1)) },
	})
	must(t, err)
	front, err := server.New(server.Config{
		GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0",
		Register: func(r grpc.ServiceRegistrar) error {
			if err := api.Register(r, eng); err != nil || !own {
				return err
			}
			return api.RegisterBridge(r, eng, func() api.Facts { return api.Facts{} })
		},
		Ready: func() server.Readiness {
			s := eng.Status()
			return server.Readiness{
				Ready:     s.DataPlane.Up && s.Settled,
				Parts:     []server.Part{{Name: "data plane", Ready: s.DataPlane.Up, Detail: "a test's"}},
				Resources: map[string]int{"READY": len(s.Resources)},
			}
		},
		Registry: prometheus.NewRegistry(), Log: log,
	})
	must(t, err)
	must(t, front.Listen(t.Context()))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 3)
	for _, run := range []func(context.Context) error{driver.Run, eng.Run, front.Run} {
		go func() { ended <- run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range cap(ended) {
			must(t, <-ended)
		}
		must(t, records.Close())
	})
	testkit.Eventually(t, "the bridge is ready", func() error {
		if s := eng.Status(); !s.Settled {
			return fmt.Errorf("status is %+v", s)
		}
		return nil
	})
	return front.GRPCAddr(), front.HTTPAddr()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Each file under testdata holds commands ("$ opictl …") and what they print, errors included, with
// the exit status if it is not 0. They run in order against one bridge. -rewrite writes down what is
// printed now.
func TestGolden(t *testing.T) {
	t.Parallel()
	rewrite := flag.Lookup("rewrite").Value.String() == "true"
	grpcAddr, httpAddr := bridge(t, true)
	files, err := filepath.Glob("testdata/*.txt")
	must(t, err)
	if len(files) == 0 {
		t.Fatal("no golden files")
	}
	for _, file := range files {
		want, err := os.ReadFile(file)
		must(t, err)
		got := replay(t, string(want), grpcAddr, httpAddr)
		if rewrite {
			must(t, os.WriteFile(file, []byte(got), 0o600))
		} else if got != string(want) {
			t.Errorf("%s is out of date (go test ./cmd/opictl -rewrite); it prints\n%s", file, got)
		}
	}
}

// replay runs the commands of a golden file and returns the file as it should be.
func replay(t *testing.T, file, grpcAddr, httpAddr string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(file) {
		command, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "$ opictl ")
		if strings.HasPrefix(line, "# ") {
			out.WriteString(line)
		}
		if !ok {
			continue
		}
		var printed bytes.Buffer
		args := append([]string{"--server", grpcAddr, "--http", httpAddr}, strings.Fields(command)...)
		status := run(t.Context(), args, strings.NewReader(""), &printed, &printed)
		fmt.Fprintf(&out, "$ opictl %s\n%s", command, printed.String())
		if status != exitOK {
			fmt.Fprintf(&out, "exit %d\n", status)
		}
		out.WriteString("\n")
	}
	return strings.NewReplacer(grpcAddr, "GRPC", httpAddr, "HTTP").Replace(out.String())
}

func TestMain(m *testing.M) {
	flag.Bool("rewrite", false, "write the golden files anew")
	goleak.VerifyTestMain(m)
}
