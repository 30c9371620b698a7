// SPDX-License-Identifier: Apache-2.0

package bolt_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/bolt"
	"github.com/opi-bridge/opi-bridge/pkg/store/storetest"
)

func open(location string, schema store.Schema) (store.LeasedStore, error) {
	return bolt.New(bolt.Config{URL: location, Schema: schema})
}

func newPlace(t *testing.T) storetest.Place {
	return storetest.Place{Location: "bolt://" + filepath.Join(t.TempDir(), "deep", "state.db")}
}

func TestMain(m *testing.M) { storetest.Main(m, open) }

func TestSuite(t *testing.T) { storetest.Run(t, open, newPlace) }

func TestSuiteWrapped(t *testing.T) {
	wrapped := func(location string, schema store.Schema) (store.LeasedStore, error) {
		s, err := open(location, schema)
		if err != nil {
			return nil, err
		}
		return store.Observed(storetest.NewFaulty(s), func(string, time.Duration, error) {}), nil
	}
	storetest.Run(t, wrapped, newPlace)
}

func BenchmarkStore(b *testing.B) {
	storetest.Benchmark(b, open, storetest.Place{Location: "bolt://" + filepath.Join(b.TempDir(), "state.db")})
}
