// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"encoding/json"
	"io"
	"strings"
	"sync"
)

// jsonWire is JSON-RPC on a stream: one value after another.
type jsonWire struct {
	requests, replies *json.Decoder

	mu      sync.Mutex
	methods map[string]string // of calls without an answer, by id; guarded by mu
}

func newJSONWire(client, server io.Reader) wire {
	return &jsonWire{requests: json.NewDecoder(client), replies: json.NewDecoder(server), methods: map[string]string{}}
}

func (w *jsonWire) request() (message, error) {
	var raw json.RawMessage
	var head struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	if err := w.requests.Decode(&raw); err != nil {
		return message{}, err
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return message{}, err
	}
	w.mu.Lock()
	w.methods[string(head.ID)] = head.Method
	w.mu.Unlock()
	return message{raw: raw, label: "request " + head.Method, class: methodClass(head.Method)}, nil
}

func (w *jsonWire) reply() (message, error) {
	var raw json.RawMessage
	var head struct {
		ID json.RawMessage `json:"id"`
	}
	if err := w.replies.Decode(&raw); err != nil {
		return message{}, err
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return message{}, err
	}
	w.mu.Lock()
	method := w.methods[string(head.ID)]
	delete(w.methods, string(head.ID))
	w.mu.Unlock()
	return message{raw: raw, label: "reply to " + method, class: methodClass(method)}, nil
}

func methodClass(method string) class {
	switch {
	case method == "notify_get_notifications":
		return background
	case strings.Contains(method, "_get_"), strings.HasSuffix(method, "_get"), method == "bdev_nvme_set_options":
		return look
	}
	return change
}
