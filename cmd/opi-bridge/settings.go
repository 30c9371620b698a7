// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/kinds"
	"github.com/opi-bridge/opi-bridge/pkg/server"
	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
	"github.com/opi-bridge/opi-bridge/pkg/telemetry"
)

// settings is everything that can be set from outside. Each field is one flag; the environment
// variable and the key of the YAML file have the flag's name (see sources.go).
type settings struct {
	grpcListen, httpListen     string
	healthListen               string
	insecure                   bool
	tlsCert, tlsKey, tlsClient string

	spdk, store, instance string
	storeDurability       string
	hostNQNGiven          string
	controllerIDsGiven    string
	controllerIDs         driver.ControllerIDs // what check has read of it
	auditInterval         time.Duration
	host                  driverSettings

	keyDir, vfioUserDir, secretKeyFile string

	metricsLimit int

	compat string // whose manners to have, "" for our own

	maxRequestBytes, maxInFlight int
	maxPerSecond                 float64
	drainTimeout                 time.Duration

	logLevel, logFormat string
	traceCollector      string
	traceRatio          float64
}

// define adds a flag for each setting. What stands here is also the reference: --help prints it.
func (s *settings) define(f *pflag.FlagSet) {
	f.StringVar(&s.grpcListen, "grpc-listen", "127.0.0.1:50051", "address for gRPC, host:port")
	f.StringVar(&s.httpListen, "http-listen", "127.0.0.1:8082", "address for REST, /metrics, /healthz and /readyz, host:port; \"off\" for none")
	f.StringVar(&s.healthListen, "health-listen", "", "further address for /healthz and /readyz, in plain text and without details, for probes that have no certificate; none when empty")
	f.BoolVar(&s.insecure, "insecure", false, "allow plain text on addresses that other machines can reach")
	f.StringVar(&s.tlsCert, "tls-cert", "", "file with the server's certificate chain, PEM; turns on TLS")
	f.StringVar(&s.tlsKey, "tls-key", "", "file with the server's private key, PEM")
	f.StringVar(&s.tlsClient, "tls-client-ca", "", "file with the CAs of clients, PEM; clients must then show a certificate (mTLS)")

	f.StringVar(&s.spdk, "spdk", "unix:///var/tmp/spdk.sock", "the data plane's JSON-RPC: unix:///path or tcp://host:port")
	f.StringVar(&s.store, "store", "redis://127.0.0.1:6379/0", "where records are kept: redis://host:port/db or bolt:///path")
	f.StringVar(&s.storeDurability, "store-durability", "auto", "what a change waits for in Redis before it is answered: auto, fsync, replicas=N, fsync,replicas=N or none")
	f.StringVar(&s.instance, "instance", "default", "name of this bridge; bridges of different data planes that share a store need different ones")
	f.StringVar(&s.hostNQNGiven, "host-nqn", "", "NQN as which the data plane attaches to targets where a path names none; made of machine and instance when empty")
	f.StringVar(&s.controllerIDsGiven, "controller-ids", driver.AllControllerIDs().String(), "MIN-MAX, the NVMe controller ids that new subsystems give to hosts; two bridges that export one NQN to the same host need ranges that do not overlap")
	f.DurationVar(&s.auditInterval, "audit-interval", 30*time.Second, "time between two looks at the whole data plane when nothing calls for one")

	s.host.define(f)

	f.StringVar(&s.secretKeyFile, "secret-key-file", "", "file with the keys that seal secrets (PSKs, volume keys) for the store, made if it is missing; resources with secrets are refused when empty")
	f.StringVar(&s.keyDir, "key-dir", "", "directory for the files from which the data plane reads PSKs; it must see it under the same path, as the same user (default keys beside the file of a bolt store, else "+keysOfRedis+")")
	f.StringVar(&s.vfioUserDir, "vfio-user-dir", "", "directory for the vfio-user sockets of PCIe controllers, one directory each; the data plane must see it under the same path; no PCIe controllers when empty")
	f.IntVar(&s.metricsLimit, "metrics-limit", 1000, "volumes, and paths, whose counters /metrics shows at most; 0 for none")
	f.StringVar(&s.compat, "compat", "", "\"opi-spdk-bridge\": names and manners of that bridge, for its clients")

	f.IntVar(&s.maxRequestBytes, "max-request-bytes", server.DefaultRequestBytes, "size of the largest request, bytes")
	f.IntVar(&s.maxInFlight, "max-in-flight", server.DefaultInFlight, "requests served at the same time")
	f.Float64Var(&s.maxPerSecond, "max-per-second", 0, "requests taken per second on average, 0 for no limit")
	f.DurationVar(&s.drainTimeout, "drain-timeout", server.DefaultDrainTimeout, "how long requests under way may take to end at SIGTERM")

	f.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&s.logFormat, "log-format", "text", "text or json")
	f.StringVar(&s.traceCollector, "trace-collector", "", "OTLP/gRPC collector for traces, http://host:port or https://host:port; none when empty")
	f.Float64Var(&s.traceRatio, "trace-ratio", 1, "share of requests that are traced, above 0 to 1")
}

// instanceName is what --instance may be: it becomes part of keys in the store.
var instanceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// check returns everything that is wrong with the settings, taken alone and together.
func (s *settings) check() error {
	var errs []error
	wrong := func(setting, format string, args ...any) {
		errs = append(errs, fmt.Errorf("--"+setting+": "+format, args...))
	}
	if (s.tlsCert == "") != (s.tlsKey == "") {
		wrong("tls-cert", "a certificate and its key (--tls-key) go together")
	}
	if s.tlsClient != "" && s.tlsCert == "" {
		wrong("tls-client-ca", "client certificates need TLS: give --tls-cert and --tls-key")
	}
	if s.hostNQNGiven != "" {
		if err := kinds.CheckNQN(s.hostNQNGiven); err != nil {
			wrong("host-nqn", "%w", err)
		}
	}
	ids, err := driver.ParseControllerIDs(s.controllerIDsGiven)
	if s.controllerIDs = ids; err != nil {
		wrong("controller-ids", "%w", err)
	}
	secured := s.insecure || s.tlsCert != ""
	if err := server.CheckListen("gRPC", s.grpcListen, secured); err != nil {
		wrong("grpc-listen", "%w", err)
	}
	if s.httpListen != httpOff {
		if err := server.CheckListen("HTTP", s.httpListen, secured); err != nil {
			wrong("http-listen", "%w", err)
		}
	}
	if s.healthListen != "" {
		if err := server.CheckListen("health", s.healthListen, true); err != nil {
			wrong("health-listen", "%w", err)
		}
	}
	if _, _, err := spdkAddress(s.spdk); err != nil {
		wrong("spdk", "%w", err)
	}
	s.host.check(wrong)
	if err := checkStore(s.store); err != nil {
		wrong("store", "%w", err)
	}
	if _, err := redis.ParsePolicy(s.storeDurability); err != nil {
		wrong("store-durability", "%w", err)
	}
	if !instanceName.MatchString(s.instance) {
		wrong("instance", "%q must have 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit", s.instance)
	}
	if s.auditInterval < time.Second {
		wrong("audit-interval", "%v is less than 1s", s.auditInterval)
	}
	if s.metricsLimit < 0 {
		wrong("metrics-limit", "%d is negative", s.metricsLimit)
	}
	if s.compat != "" && s.compat != compatSPDKBridge {
		wrong("compat", "%q is neither empty nor %s", s.compat, compatSPDKBridge)
	}
	if s.maxRequestBytes < 1 {
		wrong("max-request-bytes", "%d is less than 1", s.maxRequestBytes)
	}
	if s.maxInFlight < 1 {
		wrong("max-in-flight", "%d is less than 1", s.maxInFlight)
	}
	if s.maxPerSecond < 0 {
		wrong("max-per-second", "%v is negative", s.maxPerSecond)
	}
	if s.drainTimeout <= 0 {
		wrong("drain-timeout", "%v is not more than 0", s.drainTimeout)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, s.logLevel) {
		wrong("log-level", "%q is none of debug, info, warn and error", s.logLevel)
	}
	if !slices.Contains([]string{"text", "json"}, s.logFormat) {
		wrong("log-format", "%q is neither text nor json", s.logFormat)
	}
	if s.traceCollector != "" {
		if err := telemetry.CheckEndpoint(s.traceCollector); err != nil {
			wrong("trace-collector", "%w", err)
		}
	}
	if s.traceRatio <= 0 || s.traceRatio > 1 {
		wrong("trace-ratio", "%v is not above 0 and at most 1", s.traceRatio)
	}
	return errors.Join(errs...)
}

// compatSPDKBridge is the value of --compat for clients of opi-spdk-bridge.
const compatSPDKBridge = "opi-spdk-bridge"

// httpOff is the value of --http-listen that means no HTTP at all.
const httpOff = "off"

// spdkAddress returns network and address, as package net wants them, of a --spdk URL.
func spdkAddress(raw string) (network, address string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", fmt.Errorf("%q: want unix:///path or tcp://host:port", raw)
	}
	switch {
	case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		return "unix", u.Path, nil
	case u.Scheme == "tcp" && u.Hostname() != "" && u.Port() != "" && u.Path == "":
		return "tcp", u.Host, nil
	}
	return "", "", fmt.Errorf("%q: want unix:///path or tcp://host:port", raw)
}
