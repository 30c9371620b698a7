// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// load fills settings as serve does.
func load(t *testing.T, args []string, env map[string]string) (settings, error) {
	t.Helper()
	var s settings
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	s.define(flags)
	flags.String(configFlag, "", "")
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	err := fill(flags, func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	})
	if err == nil {
		err = s.check()
	}
	return s, err
}

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagsWinOverEnvironmentOverFile(t *testing.T) {
	t.Parallel()
	file := configFile(t, "instance: from-file\nspdk: tcp://10.0.0.2:5260\nlog-level: error\naudit-interval: 5s\ninsecure: true\nmax-per-second: 2.5\n")
	s, err := load(t,
		[]string{"--instance", "from-flag"},
		map[string]string{"OPI_BRIDGE_CONFIG": file, "OPI_BRIDGE_INSTANCE": "from-env", "OPI_BRIDGE_LOG_LEVEL": "debug", "OPI_BRIDGE_SPDK": "", "OPI_BRIDGE_PORT": "tcp://injected"})
	if err != nil {
		t.Fatal(err)
	}
	if s.instance != "from-flag" || s.logLevel != "debug" || s.spdk != "tcp://10.0.0.2:5260" ||
		s.auditInterval != 5*time.Second || !s.insecure || s.maxPerSecond != 2.5 || s.logFormat != "text" {
		t.Errorf("%+v", s)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	s, err := load(t, nil, nil)
	if err != nil || s.grpcListen != "127.0.0.1:50051" || s.httpListen != "127.0.0.1:8082" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"grpc-lisen: 127.0.0.1:1\n":                 "config.yaml:1: grpc-lisen is not a setting",
		"config: other.yaml\n":                      "config is not a setting",
		"instance: [a]\n":                           "must be a single value",
		"instance: a\ninstance: b\n":                "twice",
		"- instance\n":                              "want a mapping",
		"instance: a\n---\ninstance: b\n":           "more than one document",
		"instance: \"a\n":                           "config.yaml",
		"log-level: debug\naudit-interval: often\n": "config.yaml:2: audit-interval",
		"max-in-flight: 99999999999999999999\n":     "max-in-flight",
		strings.Repeat("# long\n", 200_000):         "larger than",
	} {
		if _, err := load(t, []string{"--config", configFile(t, text)}, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v, want one that says %q", text, err, says)
		}
	}
	if _, err := load(t, []string{"--config", "/does/not/exist"}, nil); err == nil {
		t.Error("a file that does not exist was read")
	}
	if _, err := load(t, []string{"--config", configFile(t, "# nothing but a comment\n")}, nil); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

// All that is wrong is said at once, each with its flag.
func TestSettingsThatAreRefused(t *testing.T) {
	t.Parallel()
	_, err := load(t, []string{
		"--grpc-listen=0.0.0.0:50051", "--http-listen=here", "--health-listen=there", "--tls-client-ca=ca.pem", "--spdk=/var/tmp/spdk.sock",
		"--store=postgres://x", "--instance=a/b", "--audit-interval=1ms", "--compat=yes", "--metrics-limit=-1", "--max-request-bytes=0", "--max-in-flight=-1",
		"--max-per-second=-1", "--drain-timeout=0s", "--log-level=loud", "--log-format=xml", "--trace-collector=collector:4317", "--trace-ratio=2",
	}, nil)
	if err == nil {
		t.Fatal("taken")
	}
	said := strings.Split(err.Error(), "\n")
	for _, flag := range []string{
		"grpc-listen", "http-listen", "health-listen", "tls-client-ca", "spdk", "store", "instance", "audit-interval", "compat", "metrics-limit", "max-request-bytes",
		"max-in-flight", "max-per-second", "drain-timeout", "log-level", "log-format", "trace-collector", "trace-ratio",
	} {
		found := false
		for _, line := range said {
			found = found || strings.HasPrefix(line, "--"+flag+":")
		}
		if !found {
			t.Errorf("nothing is said about --%s:\n%v", flag, err)
		}
	}
	if _, err := load(t, []string{"--tls-cert=c.pem"}, nil); err == nil || !strings.Contains(err.Error(), "--tls-key") {
		t.Errorf("a certificate without key: %v", err)
	}
	if _, err := load(t, nil, map[string]string{"OPI_BRIDGE_INSECURE": "perhaps"}); err == nil || !strings.Contains(err.Error(), "OPI_BRIDGE_INSECURE") {
		t.Errorf("a bool that is none: %v", err)
	}
}

func TestSettingsOfDrivers(t *testing.T) {
	t.Parallel()
	s, err := load(t, []string{"--driver=kvm", "--qmp=unix:///run/qmp", "--pci-buses=pci.opi.0,pci.opi.1", "--unplug-nvme"}, nil)
	if err != nil || !s.host.unplugNvme || len(s.host.buses()) != 2 || s.host.vhostDir != "/var/tmp" {
		t.Errorf("%+v, %v", s.host, err)
	}
	for _, row := range []struct{ args, says string }{
		{"--driver=snap", "--driver:"},
		{"--driver=kvm --pci-buses=a", "--qmp:"},
		{"--driver=kvm --qmp=unix:///run/qmp", "--pci-buses:"},
		{"--driver=kvm --qmp=unix:///run/qmp --pci-buses=a,,b", "--pci-buses:"},
		{"--driver=kvm --qmp=unix:///run/qmp --pci-buses=a --vhost-dir=", "--vhost-dir:"},
		{"--qmp=unix:///run/qmp", "--driver kvm only"},
		{"--pci-buses=a", "--driver kvm only"},
		{"--unplug-nvme", "--driver kvm only"},
	} {
		if _, err := load(t, strings.Fields(row.args), nil); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, want one that says %q", row.args, err, row.says)
		}
	}
}

func TestSPDKAddress(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string][2]string{
		"unix:///var/tmp/spdk.sock": {"unix", "/var/tmp/spdk.sock"},
		"tcp://10.0.0.2:5260":       {"tcp", "10.0.0.2:5260"},
		"tcp://[::1]:5260":          {"tcp", "[::1]:5260"},
	} {
		network, address, err := spdkAddress(raw)
		if err != nil || network != want[0] || address != want[1] {
			t.Errorf("%s: %s %s %v", raw, network, address, err)
		}
	}
	for _, raw := range []string{"", "unix://", "unix://relative/path", "tcp://host", "tcp://:1", "tcp://h:1/x", "http://h:1", "\x00"} {
		if _, _, err := spdkAddress(raw); err == nil {
			t.Errorf("%q was taken", raw)
		}
	}
}
