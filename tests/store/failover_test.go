// SPDX-License-Identifier: Apache-2.0

// Package store_test runs the bridge on stores as they are in production: Redis behind Sentinel, as a
// Cluster, with TLS and users that may do little; moved from one to the other; full.
package store_test

import (
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dial connects to a bridge.
func dial(t *testing.T, b *testkit.BridgeProcess) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("dns:///"+b.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// acknowledged is how many calls must be acknowledged between two faults.
const acknowledged = 60

// survive makes load on a bridge while master after master fails, one killed, one frozen, and wants
// that all that was acknowledged is there, also for a bridge that is started anew.
func survive(t *testing.T, url string, master func() *testkit.RedisServer, follow func(old, master *testkit.RedisServer)) {
	t.Helper()
	dataPlane := testkit.DataPlane(t)
	bridge := testkit.Bridge(t, testkit.BridgeConfig{SPDK: dataPlane.Addr(), Store: url})
	l := begin(t, dial(t, bridge))
	l.goesOn(t, "the start", acknowledged)

	old := master()
	old.Kill()
	next := awaitOther(t, master, old)
	l.goesOn(t, "the master was killed", acknowledged)
	old.Start()
	follow(old, next)
	next.AwaitReplica(old)

	// One that is frozen does not know, when it goes on, that another has its place.
	next.Pause()
	awaitOther(t, master, next)
	next.Resume()
	l.goesOn(t, "the next master was frozen and went on", acknowledged)

	l.end(t)
	l.holds(t, "what was acknowledged")
	bridge.Restart()
	l.holds(t, "what was acknowledged, for a bridge started anew")
}

var errNoOther = errors.New("not yet")

// awaitOther waits until another server is the master.
func awaitOther(t *testing.T, master func() *testkit.RedisServer, old *testkit.RedisServer) (next *testkit.RedisServer) {
	t.Helper()
	testkit.Eventually(t, "another server takes the place of "+old.Addr(), func() error {
		if next = master(); next == nil || next == old {
			return errNoOther
		}
		return nil
	})
	return next
}

// TestSentinelFailover: a master with two replicas, watched by three sentinels.
func TestSentinelFailover(t *testing.T) {
	first := testkit.Redis(t)
	servers := []*testkit.RedisServer{first, testkit.Replica(t, first), testkit.Replica(t, first)}
	sentinels := testkit.Sentinels(t, first, "opi", 3)
	survive(t, "redis+sentinel://"+sentinels[0]+"?master=opi&addr="+sentinels[1]+"&addr="+sentinels[2], func() *testkit.RedisServer {
		addr := testkit.MasterOf(t, sentinels[2], "opi")
		for _, s := range servers {
			if s.Addr() == addr {
				return s
			}
		}
		t.Fatalf("the sentinels name %s, which is none of the servers", addr)
		return nil
	}, func(old, master *testkit.RedisServer) {
		// The sentinels see to it too, but take their time.
		host, port, _ := strings.Cut(master.Addr(), ":")
		old.CLI("REPLICAOF", host, port)
	})
}

// TestClusterFailover: three masters with a replica each.
func TestClusterFailover(t *testing.T) {
	cluster := testkit.Cluster(t, 3)
	addrs := cluster.Addrs()
	survive(t, "redis+cluster://"+addrs[0]+"?addr="+strings.Join(addrs[1:], "&addr="), func() *testkit.RedisServer {
		return cluster.Owner("opi-bridge:{test}:meta")
	}, func(_, _ *testkit.RedisServer) {})
}
