// SPDX-License-Identifier: Apache-2.0

package tlsconf

import (
	"crypto/tls"
	"sync"
)

// ClientConfig says whom a client trusts and what it shows.
type ClientConfig struct {
	// CAFile holds the CAs of the server. Empty means those of the operating system.
	CAFile string
	// CertFile and KeyFile hold the client's own certificate and key, for servers that ask (mTLS).
	CertFile, KeyFile string
	// ServerName is the name to look for in the server's certificate. Empty means the name dialled.
	ServerName string
	// MinVersion is the oldest version accepted.
	MinVersion MinVersion
}

// Client hands out settings for connections. It is safe for use by several goroutines.
type Client struct {
	cfg ClientConfig

	// mu guards the fields below.
	mu      sync.Mutex
	current *tls.Config
	seen    stamp
}

// NewClient returns a Client over files that must be right at this moment.
func NewClient(cfg ClientConfig) (*Client, error) {
	c := &Client{cfg: cfg}
	if _, err := c.Config(""); err != nil {
		return nil, err
	}
	return c, nil
}

// Config returns the settings for one connection to the server called dialled, which counts when the
// configuration does not name one; it owns what it returns. Take new settings for each connection,
// for they hold the files as they are now; files that are wrong now give an error that names them.
func (c *Client) Config(dialled string) (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, err := stampOf(c.cfg.CAFile, c.cfg.CertFile, c.cfg.KeyFile)
	if err != nil {
		return nil, err
	}
	if c.current == nil || !now.equal(c.seen) {
		next, err := c.load()
		if err != nil {
			return nil, err
		}
		c.current, c.seen = next, now
	}
	out := c.current.Clone()
	if out.ServerName == "" {
		out.ServerName = dialled
	}
	return out, nil
}

func (c *Client) load() (*tls.Config, error) {
	version, err := c.cfg.MinVersion.number()
	if err != nil {
		return nil, err
	}
	pool, err := loadPool(c.cfg.CAFile)
	if err != nil {
		return nil, err
	}
	pair, err := loadPair(c.cfg.CertFile, c.cfg.KeyFile)
	if err != nil {
		return nil, err
	}
	out := &tls.Config{RootCAs: pool, ServerName: c.cfg.ServerName, MinVersion: version}
	if pair != nil {
		out.Certificates = []tls.Certificate{*pair}
	}
	return out, nil
}
