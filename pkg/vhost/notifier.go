// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// notifier tells a front end, on a socket that it has sent for the purpose, that the config space has
// changed. It never makes anybody wait.
type notifier struct {
	sock    net.Conn
	changed chan struct{}
	exited  chan struct{}
}

// newNotifier takes over a descriptor, which must be a stream socket.
func newNotifier(fd int) (*notifier, error) {
	file := os.NewFile(uintptr(fd), "backend channel")
	sock, err := net.FileConn(file)
	if err = errors.Join(err, file.Close()); err == nil {
		if _, ok := sock.(*net.UnixConn); !ok || sock.LocalAddr().Network() != "unix" {
			err = errors.New("it is not a unix stream socket")
		}
	}
	if err != nil {
		if sock != nil {
			sock.Close()
		}
		return nil, fmt.Errorf("the channel for requests of the back end: %w", err)
	}
	n := &notifier{sock: sock, changed: make(chan struct{}, 1), exited: make(chan struct{})}
	go n.run()
	return n, nil
}

// run sends one message for each change, or for several that came while one was sent.
func (n *notifier) run() {
	defer close(n.exited)
	message := appendMessage(nil, backendConfigChange, flagVersion, nil)
	for range n.changed {
		if err := n.sock.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
			return
		}
		if _, err := n.sock.Write(message); err != nil {
			return // the front end will read the config space when it comes back
		}
	}
}

// notify does not wait. Nobody calls close at the same time.
func (n *notifier) notify() {
	if n == nil {
		return
	}
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// close ends the goroutine.
func (n *notifier) close() {
	if n == nil {
		return
	}
	n.sock.Close()
	close(n.changed)
	<-n.exited
}
