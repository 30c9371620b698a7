// SPDX-License-Identifier: Apache-2.0

package tlsconf

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"slices"
	"sync"
)

// ServerConfig says what a server shows and demands.
type ServerConfig struct {
	// CertFile and KeyFile hold the server's certificate chain and key. Required.
	CertFile, KeyFile string
	// ClientCAFile holds the CAs of clients. When it is set every client must show a certificate of
	// one of them (mTLS); otherwise none is asked for.
	ClientCAFile string
	// MinVersion is the oldest version accepted.
	MinVersion MinVersion
	// NextProtos is what ALPN offers. Empty is h2 and http/1.1, which suits gRPC and REST.
	NextProtos []string
	// Log gets a line when files were read again, or could not be. Required.
	Log *slog.Logger
}

// Server returns settings for a listener, from files that must be right at this moment. Later, files
// that changed are read again at a handshake; if they are wrong then, the server goes on with what
// it has and logs that.
//
// The settings carry GetConfigForClient. Whoever changes other fields of them changes nothing.
func Server(cfg ServerConfig) (*tls.Config, error) {
	if cfg.CertFile == "" || cfg.KeyFile == "" {
		return nil, errors.New("a TLS server needs a certificate file and a key file")
	}
	if cfg.Log == nil {
		return nil, errors.New("a TLS server needs a logger")
	}
	if len(cfg.NextProtos) == 0 {
		cfg.NextProtos = []string{"h2", "http/1.1"}
	}
	cfg.NextProtos = slices.Clone(cfg.NextProtos)
	r := &serverReloader{cfg: cfg}
	first, err := r.load()
	if err != nil {
		return nil, err
	}
	r.current = first
	outer := first.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.config(), nil }
	return outer, nil
}

type serverReloader struct {
	cfg ServerConfig

	// mu guards the fields below. Files are read under it: at most once per change.
	mu      sync.Mutex
	current *tls.Config
	seen    stamp // the files that were looked at last, whether they were right or not
	missing bool  // the last look failed
}

// config returns the settings for one handshake.
func (r *serverReloader) config() *tls.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, err := stampOf(r.cfg.CertFile, r.cfg.KeyFile, r.cfg.ClientCAFile)
	if err != nil {
		if !r.missing {
			r.cfg.Log.Warn("TLS files cannot be read, the server goes on with those it has", "err", err)
		}
		r.missing = true
		return r.current
	}
	r.missing = false
	if now.equal(r.seen) {
		return r.current
	}
	next, err := r.load()
	if err != nil {
		r.cfg.Log.Warn("TLS files are wrong, the server goes on with those it has", "err", err)
		return r.current
	}
	r.cfg.Log.Info("TLS files changed and were read again", "file", r.cfg.CertFile)
	r.current = next
	return next
}

// load reads the files. The stamp is taken first, so that a change while reading is seen next time.
func (r *serverReloader) load() (*tls.Config, error) {
	version, err := r.cfg.MinVersion.number()
	if err != nil {
		return nil, err
	}
	seen, err := stampOf(r.cfg.CertFile, r.cfg.KeyFile, r.cfg.ClientCAFile)
	if err != nil {
		return nil, err
	}
	r.seen = seen
	pair, err := loadPair(r.cfg.CertFile, r.cfg.KeyFile)
	if err != nil {
		return nil, err
	}
	pool, err := loadPool(r.cfg.ClientCAFile)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{
		Certificates: []tls.Certificate{*pair},
		MinVersion:   version,
		NextProtos:   r.cfg.NextProtos,
	}
	if pool != nil {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, pool
	}
	return c, nil
}
