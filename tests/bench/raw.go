// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"time"
)

// raw is a bare connection to a data plane: requests written as fast as a window allows, answers
// counted. It is the floor that the bridge is compared with.
type raw struct {
	conn net.Conn
	in   *bufio.Reader
	id   int
}

// call is a method and its parameters.
type call struct {
	method string
	params any
}

// dialRaw connects to unix:///PATH or tcp://HOST:PORT.
func dialRaw(ctx context.Context, address string) (*raw, error) {
	network, rest, ok := strings.Cut(address, "://")
	if !ok {
		return nil, fmt.Errorf("address %q must begin with unix:// or tcp://", address)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, rest)
	if err != nil {
		return nil, err
	}
	return &raw{conn: conn, in: bufio.NewReaderSize(conn, 1<<20)}, nil
}

func (r *raw) close() { _ = r.conn.Close() }

// pipeline makes the calls with up to window in flight, and returns how long all took. Any answer
// with an error ends it.
func (r *raw) pipeline(calls []call, window int) (time.Duration, error) {
	slots := make(chan struct{}, window)
	failed := make(chan error, 1)
	requests := make([][]byte, len(calls))
	for i, c := range calls {
		r.id++
		b, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": r.id, "method": c.method, "params": c.params})
		if err != nil {
			return 0, err
		}
		requests[i] = b
	}
	start := time.Now()
	go func() {
		out := bufio.NewWriterSize(r.conn, 1<<16)
		for _, b := range requests {
			select {
			case slots <- struct{}{}:
			default:
				if err := out.Flush(); err != nil {
					failed <- err
					return
				}
				slots <- struct{}{}
			}
			if _, err := out.Write(b); err != nil {
				failed <- err
				return
			}
		}
		failed <- out.Flush()
	}()
	for range calls {
		line, err := r.in.ReadBytes('\n')
		if err != nil {
			return 0, err
		}
		if head := line[:min(len(line), 64)]; strings.Contains(string(head), `"error"`) {
			return 0, fmt.Errorf("data plane answered %s", line)
		}
		<-slots
	}
	took := time.Since(start)
	return took, <-failed
}

// one makes the calls one at a time and returns how long each took.
func (r *raw) one(calls []call) (sample, error) {
	var s sample
	for _, c := range calls {
		took, err := r.pipeline([]call{c}, 1)
		if err != nil {
			return nil, err
		}
		s = append(s, took)
	}
	return s, nil
}
