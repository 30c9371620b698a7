// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// respWire is the protocol of Redis, version 2. Replies come in the order of the requests.
type respWire struct {
	requests, replies *bufio.Reader

	mu      sync.Mutex
	pending []message // requests without a reply, raw left out; guarded by mu
}

func newRESPWire(client, server io.Reader) wire {
	return &respWire{requests: bufio.NewReader(client), replies: bufio.NewReader(server)}
}

func (w *respWire) request() (message, error) {
	v, err := readRESP(w.requests)
	if err != nil {
		return message{}, err
	}
	m := message{raw: v.raw}
	m.label, m.class = commandClass(v.texts)
	w.mu.Lock()
	w.pending = append(w.pending, message{label: m.label, class: m.class})
	w.mu.Unlock()
	m.label = "request " + m.label
	return m, nil
}

func (w *respWire) reply() (message, error) {
	v, err := readRESP(w.replies)
	if err != nil {
		return message{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) == 0 {
		return message{}, fmt.Errorf("%w: a reply without a request", errWire)
	}
	m := w.pending[0]
	w.pending = w.pending[1:]
	m.raw, m.label = v.raw, "reply to "+m.label
	return m, nil
}

// commandClass says what a command of the bridge's store is about: scripts are told apart by how many
// keys they take.
func commandClass(args []string) (string, class) {
	if len(args) < 3 || !strings.HasPrefix(strings.ToUpper(args[0]), "EVAL") {
		return "redis " + strings.Join(args[:min(1, len(args))], ""), background
	}
	switch args[2] {
	case "4":
		if len(args) > 10 {
			return "redis commit of " + args[10], change
		}
		return "redis commit", change
	case "3":
		return "redis load", look
	case "1":
		if len(args) > 4 && args[4] == "acquire" {
			return "redis acquire", look
		}
	}
	return "redis lease", background
}

// respValue is one value as it came, and for a list its texts.
type respValue struct {
	raw   []byte
	texts []string
}

// readRESP reads one value.
func readRESP(r *bufio.Reader) (respValue, error) {
	var out respValue
	line, err := r.ReadBytes('\n')
	if err != nil {
		return out, err
	}
	out.raw = line
	if len(line) < 3 {
		return out, fmt.Errorf("%w: line %q", errWire, line)
	}
	body := string(bytes.TrimRight(line[1:], "\r\n"))
	switch line[0] {
	case '+', '-', ':', '_', '#', ',', '(':
		return out, nil
	case '$', '=', '!':
		n, err := strconv.Atoi(body)
		if err != nil || n < 0 {
			return out, err // -1 is nil
		}
		bulk := make([]byte, n+2)
		if _, err := io.ReadFull(r, bulk); err != nil {
			return out, err
		}
		out.raw = append(out.raw, bulk...)
		out.texts = []string{string(bulk[:n])}
		return out, nil
	case '*', '%', '~', '>':
		n, err := strconv.Atoi(body)
		if err != nil {
			return out, err
		}
		if line[0] == '%' {
			n *= 2
		}
		for range max(n, 0) {
			v, err := readRESP(r)
			if err != nil {
				return out, err
			}
			out.raw = append(out.raw, v.raw...)
			out.texts = append(out.texts, v.texts...)
		}
		return out, nil
	}
	return out, fmt.Errorf("%w: line %q", errWire, line)
}
