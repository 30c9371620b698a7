// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
)

// Config says what a server serves and how. Fields without "Required" have a default that suits.
type Config struct {
	// GRPCListen and HTTPListen are the addresses to listen on, host:port; port 0 lets the kernel
	// choose. Required. An empty HTTPListen means no HTTP. Anything but a loopback address needs TLS
	// or Insecure.
	GRPCListen, HTTPListen string
	// HealthListen is a further address, host:port, for /healthz and /readyz in plain text and without
	// details, so that probes need no certificate. Empty means none. Any address will do.
	HealthListen string
	// Insecure allows plain text on addresses that others can reach.
	Insecure bool
	// TLS is for both listeners; nil means plain text.
	TLS *tls.Config
	// Register registers the services. Required.
	Register func(grpc.ServiceRegistrar) error
	// Ready says whether requests can be served, and if not, why. Asked often, from many goroutines;
	// it answers from memory. Required.
	Ready func() Readiness
	// Authorize decides whether a caller may call a method ("/package.Service/Method"); its errors
	// are of package errdefs. Nil allows everything. Health checks are not asked about.
	Authorize func(ctx context.Context, caller Caller, method string) error
	// Version is what /openapi.json gives as its version; empty means "unknown".
	Version string
	// Limits bound what callers can take.
	Limits Limits
	// DrainTimeout is how long requests under way may take to end when the server ends. Default 10 s.
	DrainTimeout time.Duration
	// Registry takes the server's metrics and is what /metrics shows. Required.
	Registry *prometheus.Registry
	// Tracer traces requests; nil means that none are.
	Tracer trace.TracerProvider
	// Log is told what happens. Required.
	Log *slog.Logger
}

// Limits bound what callers can take. A request beyond a limit is answered RESOURCE_EXHAUSTED.
type Limits struct {
	// RequestBytes is the size of the largest request, in bytes, for gRPC and REST. Default 4 MiB.
	RequestBytes int
	// InFlight is how many requests are served at the same time. Default 1024.
	InFlight int
	// PerSecond is how many requests are taken in a second, on average, in bursts of as many. 0 means
	// no limit.
	PerSecond float64
}

// Defaults of Config and Limits.
const (
	DefaultRequestBytes = 4 << 20
	DefaultInFlight     = 1024
	DefaultDrainTimeout = 10 * time.Second
)

// withDefaults returns cfg completed, or all that is wrong with it.
func (cfg Config) withDefaults() (Config, error) {
	if cfg.Limits.RequestBytes == 0 {
		cfg.Limits.RequestBytes = DefaultRequestBytes
	}
	if cfg.Limits.InFlight == 0 {
		cfg.Limits.InFlight = DefaultInFlight
	}
	if cfg.Version == "" {
		cfg.Version = "unknown"
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = DefaultDrainTimeout
	}
	secured := cfg.Insecure || cfg.TLS != nil
	errs := []error{CheckListen("gRPC", cfg.GRPCListen, secured)}
	if cfg.HTTPListen != "" {
		errs = append(errs, CheckListen("HTTP", cfg.HTTPListen, secured))
	}
	if cfg.HealthListen != "" {
		errs = append(errs, CheckListen("health", cfg.HealthListen, true))
	}
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New("server: "+what))
		}
	}
	need(cfg.Register != nil, "no services to register")
	need(cfg.Ready != nil, "no readiness function")
	need(cfg.Registry != nil, "no metrics registry")
	need(cfg.Log != nil, "no logger")
	need(cfg.Limits.RequestBytes > 0 && cfg.Limits.InFlight > 0 && cfg.Limits.PerSecond >= 0, "limits must not be negative")
	need(cfg.DrainTimeout > 0, "the drain timeout must not be negative")
	return cfg, errors.Join(errs...)
}

// CheckListen says why a server must not listen on address, nil if it may. secured says that the
// listener has TLS or that its owner has asked for plain text. what names the listener.
func CheckListen(what, address string, secured bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s listen address %q: want host:port, for example 127.0.0.1:50051", what, address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%s listen address %q: port %q is not a number from 0 to 65535", what, address, port)
	}
	if secured || loopback(host) {
		return nil
	}
	return fmt.Errorf("%s listen address %q can be reached by others, in plain text: "+
		"listen on 127.0.0.1, give a certificate with --tls-cert and --tls-key, or say --insecure", what, address)
}

// loopback says whether host is certainly reachable from this machine only.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
