// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Replica starts a redis-server that follows master, with settings as for [Redis], and waits until it
// has everything.
func Replica(tb testing.TB, master *RedisServer, settings ...string) *RedisServer {
	tb.Helper()
	r := Redis(tb, append([]string{"--replicaof", "127.0.0.1", strconv.Itoa(master.port)}, settings...)...)
	master.AwaitReplica(r)
	return r
}

// AwaitReplica waits until another server follows this one and has everything that was written before
// it did. What was acknowledged while there was no replica may lie in this server's buffers for a while
// after the replica shows as online.
func (r *RedisServer) AwaitReplica(replica *RedisServer) {
	r.p.tb.Helper()
	written := int64(-1) // when it was first seen online
	Eventually(r.p.tb, "the replica has everything", func() error {
		info, err := r.cli("INFO", "replication")
		if err != nil {
			return err
		}
		all, has := int64(-1), int64(-1)
		for line := range strings.Lines(info) {
			line = strings.TrimSpace(line)
			if text, ok := strings.CutPrefix(line, "master_repl_offset:"); ok {
				all = number(text)
			}
			if strings.Contains(line, fmt.Sprintf("port=%d,", replica.port)) && strings.Contains(line, "state=online") {
				_, rest, _ := strings.Cut(line, "offset=")
				text, _, _ := strings.Cut(rest, ",")
				has = number(text)
			}
		}
		if written < 0 && has >= 0 {
			written = all
		}
		if written < 0 || has < written {
			return errors.New(info)
		}
		return nil
	})
}

// number reads a count, -1 for what is none.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// Sentinel starts a sentinel that watches master under a name, and returns its host:port.
func Sentinel(tb testing.TB, master *RedisServer, name string) string {
	tb.Helper()
	return Sentinels(tb, master, name, 1)[0]
}

// Sentinels starts so many sentinels that watch master under a name, waits until they know each other,
// and returns the host:port of each. Most of them must agree before another server takes the place of
// one that has not answered for a second.
func Sentinels(tb testing.TB, master *RedisServer, name string, count int) []string {
	tb.Helper()
	var all []*RedisServer
	var addrs []string
	for range count {
		s := &RedisServer{port: FreePort(tb)}
		dir := SocketDir(tb)
		config := filepath.Join(dir, "sentinel.conf")
		text := fmt.Sprintf("bind 127.0.0.1\nport %[1]d\ndir %[2]s\nsentinel monitor %[3]s 127.0.0.1 %[4]d %[5]d\n"+
			"sentinel down-after-milliseconds %[3]s 1000\nsentinel failover-timeout %[3]s 5000\n",
			s.port, dir, name, master.port, count/2+1)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			tb.Fatalf("write the settings of the sentinel: %v", err)
		}
		s.p = newProcess(tb, lookPath(tb, "redis-server"), config, "--sentinel")
		s.p.start()
		s.p.await(func() error {
			if strings.Contains(s.p.output.String(), "+monitor") {
				return nil
			}
			return errNotReady
		})
		all, addrs = append(all, s), append(addrs, s.Addr())
	}
	want := fmt.Sprintf("num-other-sentinels\n%d\n", count-1)
	for _, s := range all {
		Eventually(tb, "the sentinels know each other", func() error {
			out, err := s.cli("SENTINEL", "MASTER", name)
			if err == nil && !strings.Contains(out, want) {
				err = errors.New(out)
			}
			return err
		})
	}
	return addrs
}

// RedisCluster is a cluster of real redis-servers.
type RedisCluster struct {
	tb      testing.TB
	servers []*RedisServer
}

// Cluster starts a cluster of so many masters with a replica each, and waits until it serves. A server
// that has not answered for two seconds loses its place to its replica.
func Cluster(tb testing.TB, masters int, settings ...string) *RedisCluster {
	tb.Helper()
	c := &RedisCluster{tb: tb}
	create := []string{"--cluster", "create"}
	for range 2 * masters {
		s := Redis(tb, append([]string{
			"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", strconv.Itoa(FreePort(tb)),
		}, settings...)...)
		c.servers = append(c.servers, s)
		create = append(create, s.Addr())
	}
	// The client waits for all to have met, not for all to have agreed.
	c.servers[0].CLI(append(create, "--cluster-replicas", "1", "--cluster-yes")...)
	for _, s := range c.servers {
		Eventually(tb, "the cluster is up", func() error {
			info, err := s.cli("CLUSTER", "INFO")
			if err == nil && !strings.Contains(info, "cluster_state:ok") {
				err = errors.New(info)
			}
			return err
		})
		if info := s.CLI("INFO", "replication"); strings.Contains(info, "role:slave") {
			Eventually(tb, "the replica follows", func() error {
				info, err := s.cli("INFO", "replication")
				if err == nil && !strings.Contains(info, "master_link_status:up") {
					err = errors.New(info)
				}
				return err
			})
		}
	}
	return c
}

// Addrs returns the host:port of each server.
func (c *RedisCluster) Addrs() []string {
	var all []string
	for _, s := range c.servers {
		all = append(all, s.Addr())
	}
	return all
}

// Servers returns the servers; the caller leaves the slice as it is.
func (c *RedisCluster) Servers() []*RedisServer { return c.servers }

// Owner returns the running master that has the key, or nil while there is none.
func (c *RedisCluster) Owner(key string) *RedisServer {
	for _, s := range c.servers {
		if s.frozen {
			continue
		}
		if out, err := s.cli("EXISTS", key); err == nil && out == "1" {
			return s
		}
	}
	return nil
}

// MasterOf returns the host:port of the master that a sentinel names.
func MasterOf(tb testing.TB, sentinel, name string) string {
	tb.Helper()
	_, port, err := net.SplitHostPort(sentinel)
	if err != nil {
		tb.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		tb.Fatal(err)
	}
	s := &RedisServer{p: &process{tb: tb}, port: n}
	return strings.ReplaceAll(s.CLI("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name), "\n", ":")
}
