// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/tlsconf"
)

// beforeError marks what went wrong before a command was sent that could change anything.
type beforeError struct{ cause error }

// Error returns the text of the cause.
func (e beforeError) Error() string { return e.cause.Error() }

// Unwrap returns the cause.
func (e beforeError) Unwrap() error { return e.cause }

// dialer connects to servers and sentinels.
type dialer struct {
	net net.Dialer
	tls *tlsconf.Client // nil without TLS
}

func newDialer(t *Target, timeout time.Duration) (*dialer, error) {
	d := &dialer{net: net.Dialer{Timeout: timeout}}
	if !t.useTLS {
		return d, nil
	}
	var err error
	if d.tls, err = tlsconf.NewClient(t.tls); err != nil {
		return nil, errdefs.Wrap(errdefs.InvalidArgument, err, "store %s", t)
	}
	return d, nil
}

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := d.net.DialContext(ctx, network, addr)
	if err != nil {
		return nil, beforeError{err}
	}
	if d.tls == nil {
		return conn, nil
	}
	host, _, _ := net.SplitHostPort(addr)
	cfg, err := d.tls.Config(host)
	if err != nil {
		_ = conn.Close()
		return nil, beforeError{err}
	}
	secured := tls.Client(conn, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, beforeError{err}
	}
	return secured, nil
}
