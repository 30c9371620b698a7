// SPDX-License-Identifier: Apache-2.0

package jsonrpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// SPDK's limits (v26.09), which a zero in ServerConfig stands for.
const (
	DefaultMaxRequestBytes = 256 << 10
	DefaultMaxValues       = 8192
	DefaultMaxConnections  = 64
	DefaultMaxAnswerBytes  = 32 << 20
)

// ServerConfig says what a server serves.
type ServerConfig struct {
	// Lookup returns the handler of a method. Required; safe for concurrent use.
	Lookup func(method string) (Handler, bool)
	// Log takes what happens to connections. Required. Parameters are never logged.
	Log *slog.Logger
	// AfterTurn, if set, is called whenever the handlers of one read have been started, before any
	// other handler: work left for later may begin. Like a handler it must not block.
	AfterTurn func()
	// MaxRequestBytes bounds a request with the white space around it; a longer one resets the
	// connection.
	MaxRequestBytes int
	// MaxValues bounds the JSON values of a request, names and brackets counted; more close the
	// connection.
	MaxValues int
	// MaxConnections bounds the connections served at a time; others wait in the kernel's backlog.
	MaxConnections int
	// MaxAnswerBytes bounds one result; a larger one becomes an internal error.
	MaxAnswerBytes int
	// NoBatch refuses arrays of requests, as SPDK does before v26.05.
	NoBatch bool
}

// Server answers JSON-RPC on any number of listeners. All handlers of all connections are started
// one after the other, those of one connection in the order of the requests; a handler that answers
// before it returns has therefore seen and changed the world alone.
type Server struct {
	cfg   ServerConfig
	slots chan struct{} // one element for each connection that is served

	turn sync.Mutex // held while the handlers of one read run; guards nothing else
}

// NewServer returns a server, or InvalidArgument if the configuration is not whole.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Lookup == nil || cfg.Log == nil {
		return nil, errdefs.New(errdefs.InvalidArgument, "jsonrpc: server needs Lookup and Log")
	}
	for _, limit := range []struct {
		name  string
		value *int
		usual int
	}{
		{"MaxRequestBytes", &cfg.MaxRequestBytes, DefaultMaxRequestBytes},
		{"MaxValues", &cfg.MaxValues, DefaultMaxValues},
		{"MaxConnections", &cfg.MaxConnections, DefaultMaxConnections},
		{"MaxAnswerBytes", &cfg.MaxAnswerBytes, DefaultMaxAnswerBytes},
	} {
		if *limit.value < 0 {
			return nil, errdefs.New(errdefs.InvalidArgument,
				"jsonrpc: %s is %d, must not be negative", limit.name, *limit.value)
		}
		if *limit.value == 0 {
			*limit.value = limit.usual
		}
	}
	return &Server{cfg: cfg, slots: make(chan struct{}, cfg.MaxConnections)}, nil
}

// Serve accepts connections from l and answers on them until ctx ends, which is no error, or l
// fails. It closes l and all connections and waits for their goroutines before it returns; calls
// that have not been answered by then stay unanswered. It may run for several listeners at once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var conns sync.WaitGroup
	defer conns.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer func() {
		stop()
		// Even if ctx has just closed it: the path of a unix socket is gone when this returns.
		_ = l.Close()
	}()
	for pause := minAcceptPause; ; {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		nc, err := l.Accept()
		if err == nil {
			pause = minAcceptPause
			conns.Go(func() {
				defer func() { <-s.slots }()
				newServerConn(s, nc).serve(ctx)
			})
			continue
		}
		<-s.slots
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("jsonrpc: accept on %s: %w", l.Addr(), err)
		}
		s.cfg.Log.Warn("connection not accepted", "address", l.Addr().String(), "err", err)
		select {
		case <-time.After(pause):
			pause = min(2*pause, maxAcceptPause)
		case <-ctx.Done():
			return nil
		}
	}
}

// How long to wait after an accept that failed, for want of file descriptors say.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// start looks the method of a request up and runs its handler, or answers for it.
func (s *Server) start(ctx context.Context, raw []byte, to sink) {
	req := parseRequest(raw)
	call := &Call{
		Method: req.method, Params: req.params, id: req.id,
		sink: to, log: s.cfg.Log, limit: s.cfg.MaxAnswerBytes,
	}
	if !req.valid {
		call.Fail(CodeInvalidRequest, "Invalid request")
		return
	}
	handler, ok := s.cfg.Lookup(req.method)
	if !ok {
		call.Fail(CodeMethodNotFound, "Method not found")
		return
	}
	handler(ctx, call)
}

// run carries out one value from the wire: a request, or a batch of them.
func (s *Server) run(ctx context.Context, raw []byte, to sink) {
	if raw[0] == '[' && !s.cfg.NoBatch {
		if all := elements(raw); len(all) > 0 {
			b := &batch{sink: to, left: len(all)}
			for _, one := range all {
				s.start(ctx, one, b)
			}
			return
		}
	}
	s.start(ctx, raw, to)
}
