// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
	"github.com/opi-bridge/opi-bridge/pkg/store/storetest"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

func open(location string, schema store.Schema) (store.LeasedStore, error) {
	return redis.New(redis.Config{URL: location, Instance: "dpu-1", Schema: schema})
}

func TestMain(m *testing.M) { storetest.Main(m, open) }

func TestSuite(t *testing.T) {
	storetest.Run(t, open, func(t *testing.T) storetest.Place {
		server := testkit.Redis(t)
		return storetest.Place{
			Location: "redis://" + server.Addr() + "/3",
			Crash:    func() { server.Kill(); server.Start() },
		}
	})
}

func BenchmarkStore(b *testing.B) {
	storetest.Benchmark(b, open, storetest.Place{Location: "redis://" + testkit.Redis(b).Addr()})
}
