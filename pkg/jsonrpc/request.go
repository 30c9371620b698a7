// SPDX-License-Identifier: Apache-2.0

package jsonrpc

import "encoding/json"

// request is one request as it came in.
type request struct {
	id     json.RawMessage // as the client wrote it; nil for a notification
	method string
	params json.RawMessage // an array or object; nil if there are none
	valid  bool
}

// parseRequest takes a value that has passed a scanner to pieces. The answer to one that is not
// valid carries the id only if everything before params was right, as in SPDK.
func parseRequest(raw []byte) request {
	var req request
	if raw[0] != '{' {
		return req
	}
	var version, method, params, id []byte
	known := true
	members(raw, func(name string, value []byte) bool {
		var field *[]byte
		switch name {
		case "jsonrpc":
			field = &version
		case "method":
			field = &method
		case "params":
			field = &params
		case "id":
			field = &id
		default:
			known = false
			return false
		}
		if *field != nil {
			known = false // twice
			return false
		}
		*field = value
		return true
	})
	if !known || method == nil || method[0] != '"' ||
		version != nil && (version[0] != '"' || unquote(version) != "2.0") {
		return req
	}
	switch {
	case id == nil || id[0] == 'n':
	case id[0] == '"' || id[0] == '-' || id[0] >= '0' && id[0] <= '9':
		req.id = id
	default:
		return req
	}
	switch {
	case params == nil || params[0] == 'n':
	case params[0] == '{' || params[0] == '[':
		req.params = params
	default:
		return req
	}
	req.method = unquote(method)
	req.valid = true
	return req
}
