// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/bolt"
)

// floors measures the two things that a durable create consists of besides the data plane's own call:
// an RPC, and two commits.
func floors(ctx context.Context, r *rig, t *table) error {
	const n = 20000
	health := grpc_health_v1.NewHealthClient(r.conn)
	start := time.Now()
	if err := r.each(ctx, n, func(ctx context.Context, _ int) error {
		_, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		return err
	}); err != nil {
		return err
	}
	t.add(fmt.Sprintf("an RPC that does nothing, %d in flight", r.inFlight), fmt.Sprintf("%.0f/s", perSecond(n, time.Since(start))), "", "")

	s, err := bolt.New(bolt.Config{URL: "bolt://" + filepath.Join(r.dir, "floor.db")})
	if err != nil {
		return err
	}
	body := fmt.Appendf(nil, "{%q:%q}", "as long as a record is", strings.Repeat("x", 400))
	start = time.Now()
	err = r.each(ctx, n, func(ctx context.Context, i int) error {
		_, err := s.Commit(ctx, []store.Write{{Document: store.Document{Name: volumeID(i), Body: body}}})
		return err
	})
	took := time.Since(start)
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	t.add(fmt.Sprintf("commits to a file, %d in flight", r.inFlight), fmt.Sprintf("%.0f/s", perSecond(n, took)), "", "a create needs two")
	return nil
}
