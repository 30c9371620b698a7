// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestCluster: all keys of an instance lie in one slot, so that scripts and transactions work.
func TestCluster(t *testing.T) {
	server := testkit.Redis(t, "--cluster-enabled", "yes")
	server.CLI("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	testkit.Eventually(t, "the cluster is up", func() error {
		if info := server.CLI("CLUSTER", "INFO"); !strings.Contains(info, "cluster_state:ok") {
			return errors.New(info)
		}
		return nil
	})
	s := use(t, redis.Config{URL: "redis+cluster://" + server.Addr() + "?addr=" + server.Addr()})
	lease, err := s.Acquire(t.Context(), "me", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := commit(t, s.WithFence(lease.Token), doc("a/b", `1`)); err != nil {
		t.Fatal(err)
	}
	if got := names(t, s); got != "a/b" {
		t.Errorf("documents: %s", got)
	}
	if d, err := s.Durability(t.Context()); err != nil || d.OK || !strings.Contains(d.Explanation, "no replica is up") {
		t.Errorf("durability: %+v, %v; want it to say that there is no replica", d, err)
	}
}

// TestSentinel: the server is found through a sentinel, one of several that are named.
func TestSentinel(t *testing.T) {
	server := testkit.Redis(t)
	sentinel := testkit.Sentinel(t, server, "opi")
	away := testkit.Redis(t)
	away.Stop()
	s := use(t, redis.Config{URL: "redis+sentinel://" + away.Addr() + "?master=opi&addr=" + sentinel})
	if err := commit(t, s, doc("a", `1`)); err != nil {
		t.Fatal(err)
	}
	if got := names(t, use(t, redis.Config{URL: "redis://" + server.Addr()})); got != "a" {
		t.Errorf("documents: %s", got)
	}
	if d, err := s.Durability(t.Context()); err != nil || d.OK || !strings.Contains(d.Explanation, "no replica is up") {
		t.Errorf("durability: %+v, %v; want it to say that there is no replica", d, err)
	}
	for _, query := range []string{"?master=another&addr=" + sentinel, "?master=opi"} {
		s := use(t, redis.Config{URL: "redis+sentinel://" + away.Addr() + query})
		if err := commit(t, s, doc("b", `1`)); errdefs.ClassOf(err) != errdefs.Unavailable {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// TestTLS: the server is checked against the CA, and asks for a certificate itself.
func TestTLS(t *testing.T) {
	ca, other := testkit.NewAuthority(t, "ca"), testkit.NewAuthority(t, "other")
	cert, key := ca.Files()
	ca.Issue("server", 2, cert, key)
	port := strconv.Itoa(testkit.FreePort(t))
	testkit.Redis(t, "--port", "0", "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ca.CAFile())
	pair := "&tls_cert=" + cert + "&tls_key=" + key
	for _, row := range []struct {
		url string
		ok  bool
	}{
		{"rediss://127.0.0.1:" + port + "?tls_ca=" + ca.CAFile() + pair, true},
		{"rediss://127.0.0.1:" + port + "?tls_ca=" + ca.CAFile() + pair + "&tls_server_name=localhost", true},
		{"rediss://127.0.0.1:" + port + "?tls_ca=" + ca.CAFile() + pair + "&tls_server_name=elsewhere", false},
		{"rediss://127.0.0.1:" + port + "?tls_ca=" + other.CAFile() + pair, false},
		{"rediss://127.0.0.1:" + port + "?x=" + pair, false},
		{"rediss://127.0.0.1:" + port + "?tls_ca=" + ca.CAFile(), false},
		{"redis://127.0.0.1:" + port, false},
	} {
		s, err := redis.New(redis.Config{URL: strings.Replace(row.url, "?x=&", "?", 1), Instance: "i"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Load(t.Context())
		if (err == nil) != row.ok || err != nil && errdefs.ClassOf(err) != errdefs.Unavailable {
			t.Errorf("%s: %v", row.url, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := redis.New(redis.Config{URL: "rediss://h?tls_ca=/none", Instance: "i"}); errdefs.ClassOf(err) != errdefs.InvalidArgument || !strings.Contains(err.Error(), "/none") {
		t.Errorf("a CA file that is missing: %v", err)
	}
}

func TestURLRefused(t *testing.T) {
	const password = "pass/word#?"
	for _, row := range []struct{ url, want string }{
		{"http://host", "scheme"},
		{"", "scheme"},
		{"redis://", "host:port"},
		{"redis://host:0", "host:port"},
		{"redis://host:70000", "host:port"},
		{"redis://host/x", "database"},
		{"redis://host/-1", "database"},
		{"redis+cluster://host/1", "database"},
		{"redis://host?what=1", "what"},
		{"redis://host?addr=b:1", "addr"},
		{"redis+sentinel://host", "master"},
		{"redis://host?master=m", "master"},
		{"redis://host?tls_ca=/f", "rediss"},
		{"redis://host?password_file=", "password_file"},
		{"redis://host?password_file=a&password_file=b", "password_file"},
		{"redis://u:p@host?password_file=/f", "leave one out"},
		{"redis+unix://host/path", "redis+unix"},
		{"redis://host#x", "#"},
		{"redis://:" + password + "@host", ""},
		{"redis://:%zz" + password + "@host", ""},
		{"redis+sentinel://h?master=m&sentinel_password_file=/none", "/none"},
	} {
		_, err := redis.New(redis.Config{URL: row.url, Instance: "i"})
		if errdefs.ClassOf(err) != errdefs.InvalidArgument || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "word") && strings.Contains(row.url, password) && strings.Contains(err.Error(), "pass/") {
			t.Errorf("%q: %v, want invalid argument that says %q", row.url, err, row.want)
		}
	}
	for _, instance := range []string{"", "a{b", "a}"} {
		if _, err := redis.New(redis.Config{URL: "redis://host", Instance: instance}); errdefs.ClassOf(err) != errdefs.InvalidArgument {
			t.Errorf("instance %q: %v", instance, err)
		}
	}
}

func TestURL(t *testing.T) {
	for _, row := range []struct{ url, want string }{
		{"redis://host", "redis://host:6379"},
		{"rediss://u:p@host:1/2", "rediss://host:1"},
		{"redis://[::1]:7", "redis://[::1]:7"},
		{"redis://[::1]", "redis://[::1]:6379"},
		{"redis+unix:///run/redis.sock?db=1", "redis+unix:///run/redis.sock"},
		{"redis+sentinel://u:p@a?addr=b:2&master=m", "redis+sentinel://a:26379,b:2"},
		{"redis+cluster://a?addr=b", "redis+cluster://a:6379,b:6379"},
	} {
		if got, err := redis.ParseURL(row.url); err != nil || got.String() != row.want {
			t.Errorf("%s: %v, %v; want %s", row.url, got, err, row.want)
		}
	}
}
