// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"fmt"
	"io"
	"net"
)

// relay begins to listen on a port and carries what comes there to a unix socket and back. It ends with
// the machine.
func relay(ctx context.Context, r Relay) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf(":%d", r.Port))
	if err != nil {
		return fmt.Errorf("listen for %s: %w", r.Socket, err)
	}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go carry(ctx, near, r.Socket)
		}
	}()
	return nil
}

// carry ends when either end does; that nobody is at the socket looks to the caller like an end, too.
func carry(ctx context.Context, near net.Conn, socket string) {
	defer near.Close()
	far, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return
	}
	defer far.Close()
	done := make(chan struct{}, 2)
	for _, way := range []struct{ to, from net.Conn }{{near, far}, {far, near}} {
		go func() {
			_, _ = io.Copy(way.to, way.from) // how a connection ends is nothing to whoever relays it
			done <- struct{}{}
		}()
	}
	<-done
}
