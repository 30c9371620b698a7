// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
)

// Config says how a data plane is set up.
type Config struct {
	// Log takes what happens. Required. Parameters of calls are not logged.
	Log *slog.Logger
	// Level, if set, is the level of Log; log_set_level and log_set_print_level change it.
	Level *slog.LevelVar
	// Version is the version of this program, for spdk_get_version; "" means an unnamed build.
	Version string
	// VhostDir is where the sockets of vhost controllers are made; "" is the working directory.
	VhostDir string
	// SPDKVersion is the version of SPDK to play, such as "24.09"; "" is the newest known.
	SPDKVersion string
	// Without lists modules to leave out, of those that Modules names: their methods are answered as an
	// SPDK answers that was built without them.
	Without []string
	// MaxSubsystems bounds the NVMe subsystems, the discovery subsystem among them, as SPDK's
	// nvmf_set_max_subsystems does; 0 is SPDK's 1,024.
	MaxSubsystems int
	// WaitForRPC has everything but a few methods wait for framework_start_init, as SPDK's option of that
	// name does.
	WaitForRPC bool
	// CrashLikeSPDK kills the process where SPDK would crash: when a bdev is shown whose key was
	// destroyed. Otherwise such calls are refused.
	CrashLikeSPDK bool
	// Kill delivers a signal to the process, for spdk_kill_instance and CrashLikeSPDK. Required.
	Kill func(os.Signal) error
}

// Server is a data plane: bdevs, a target, a host, and the methods that work on them. Its methods are
// safe for concurrent use.
type Server struct {
	cfg     Config
	rpc     *jsonrpc.Server
	methods map[string]*method
	order   []string // names of the methods, in the order of declaration
	turns   *turns
	bdevs   *bdev.Registry
	nvmf    *nvmf
	host    *host.Host
	vhost   *vhosts
	scsiIDs scsiIDs
	accel   accelKeys
	cryptos *cryptos
	manners manners
	lacks   lacks
	logRPC  atomic.Bool

	// What follows is touched on the turn only.
	levels  levels
	options nvmeOptions
	keyring keyring
	startup startup

	made     *made
	attached *attached
}

// eventDelay is how long a change of remote namespaces goes unseen, as with SPDK: an identifier that
// is used again within that time keeps the old identity on the host.
const eventDelay = 100 * time.Millisecond

// New returns a data plane without any object, or InvalidArgument for a configuration that is not
// whole. It starts nothing; Close lets go of what the methods will have made.
func New(cfg Config) (*Server, error) {
	if cfg.Log == nil || cfg.Kill == nil {
		return nil, errdefs.New(errdefs.InvalidArgument, "dataplane: configuration needs Log and Kill")
	}
	if cfg.Level == nil {
		cfg.Level = new(slog.LevelVar)
	}
	if cfg.Version == "" {
		cfg.Version = "(devel)"
	}
	version, err := parseSPDKVersion(cfg.SPDKVersion)
	if err != nil {
		return nil, fmt.Errorf("dataplane: %w", err)
	}
	lacks, err := lacking(cfg.Without)
	if err != nil {
		return nil, fmt.Errorf("dataplane: %w", err)
	}
	manners := mannersOf(version)
	nvmf, err := newNvmf(cfg.Log, cfg.MaxSubsystems, manners.writeCacheMayCome)
	if err != nil {
		return nil, fmt.Errorf("dataplane: %w", err)
	}
	bdevs := bdev.NewRegistry()
	initiator, err := host.New(host.Config{Registry: bdevs, Log: cfg.Log, EventDelay: eventDelay})
	if err != nil {
		return nil, fmt.Errorf("dataplane: set up the host: %w", err)
	}
	vhost, err := newVhosts(cfg.VhostDir, cfg.Log, bdevs)
	if err != nil {
		return nil, fmt.Errorf("dataplane: %w", err)
	}
	s := &Server{
		nvmf: nvmf, host: initiator, options: defaultNvmeOptions(), attached: newAttached(), cfg: cfg, methods: make(map[string]*method), turns: newTurns(),
		bdevs: bdevs, made: newMade(), vhost: vhost, cryptos: newCryptos(bdevs), manners: manners, lacks: lacks,
	}
	s.levels = newLevels(cfg.Level)
	s.startup.pending = cfg.WaitForRPC
	for _, m := range s.manners.offered(s.table()) {
		if lacks.methods[m.name] {
			continue
		}
		s.order = append(s.order, m.name)
		s.methods[m.name] = &m
	}
	rpc, err := jsonrpc.NewServer(jsonrpc.ServerConfig{
		Lookup: s.lookup, AfterTurn: s.turns.turn, Log: cfg.Log,
		MaxRequestBytes: manners.maxRequestBytes, MaxValues: manners.maxValues, NoBatch: manners.noBatch,
	})
	if err != nil {
		return nil, fmt.Errorf("dataplane: %w", err)
	}
	s.rpc = rpc
	return s, nil
}

// Serve answers on l until ctx ends, which is no error, or l fails; it closes l. It may run for
// several listeners at once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if err := s.rpc.Serve(ctx, l); err != nil {
		return fmt.Errorf("dataplane: %w", err)
	}
	return nil
}

// Close ends what the methods have begun and removes what they have made. Serve has returned before.
// It waits for users of bdevs to let go until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	s.turns.close()
	if err := s.nvmf.target.Close(); err != nil { //nolint:contextcheck // it waits for all its goroutines, whatever the time
		return fmt.Errorf("dataplane: close the target: %w", err)
	}
	if err := errors.Join(s.vhost.close(ctx), s.host.Close(ctx), s.bdevs.Close(ctx)); err != nil {
		return fmt.Errorf("dataplane: remove bdevs: %w", err)
	}
	return nil
}

// table lists all methods, family by family.
func (s *Server) table() []method {
	var all []method
	for _, family := range [][]method{
		appMethods(), startupMethods(), anytime(logMethods()), notifyMethods(), bdevMethods(), iostatMethods(),
		mallocMethods(), nullMethods(), aioMethods(), cryptoMethods(), accelMethods(), accelInfoMethods(), qosMethods(), keyringMethods(), vhostMethods(),
		anytime(nvmeOptionsMethods()), nvmeAttachMethods(), nvmeControllerMethods(), nvmeCommandMethods(), nvmePathMethods(),
		transportMethods(), subsystemMethods(), namespaceMethods(), listenerMethods(), hostMethods(), nvmfInfoMethods(), referralMethods(),
	} {
		all = append(all, family...)
	}
	return all
}

// lookup finds the handler of a method for the JSON-RPC server.
func (s *Server) lookup(name string) (jsonrpc.Handler, bool) {
	m, ok := s.methods[name]
	if !ok {
		return nil, false
	}
	return func(ctx context.Context, request *jsonrpc.Call) {
		if s.logRPC.Load() {
			s.cfg.Log.Info("call", "method", name)
		}
		c := &call{server: s, method: m, request: request}
		if !s.startup.callable(m) {
			c.outOfPhase()
			return
		}
		m.run(ctx, c)
	}, true
}
