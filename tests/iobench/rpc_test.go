// SPDX-License-Identifier: Apache-2.0

package iobench_test

import (
	"encoding/json"
	"net"
	"testing"
)

// rpc makes calls of a data plane.
type rpc struct {
	tb      testing.TB
	conn    net.Conn
	answers *json.Decoder
}

func dialRPC(tb testing.TB, network, address string) *rpc {
	tb.Helper()
	conn, err := (&net.Dialer{}).DialContext(tb.Context(), network, address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return &rpc{tb: tb, conn: conn, answers: json.NewDecoder(conn)}
}

type object map[string]any

// do makes a call that must succeed.
func (r *rpc) do(method string, params object) {
	r.tb.Helper()
	request, err := json.Marshal(object{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		r.tb.Fatal(err)
	}
	if _, err := r.conn.Write(request); err != nil {
		r.tb.Fatalf("%s: %v", method, err)
	}
	var answer struct {
		Error json.RawMessage `json:"error"`
	}
	if err := r.answers.Decode(&answer); err != nil || answer.Error != nil {
		r.tb.Fatalf("%s %v: %s %v", method, params, answer.Error, err)
	}
}

// bdevs makes a disk in memory and, if there is a file, one of it.
func (r *rpc) bdevs(file string) {
	r.tb.Helper()
	r.do("bdev_malloc_create", object{"name": "memory", "block_size": 512, "num_blocks": diskBytes / 512})
	if file != "" {
		r.do("bdev_aio_create", object{"name": "file", "filename": file, "block_size": 512, "fallocate": true})
	}
}

// export makes disks namespaces of the subsystem nqn, 1, 2 and so on.
func (r *rpc) export(nqn, address, port string, bdevs ...string) {
	r.tb.Helper()
	r.do("nvmf_create_transport", object{"trtype": "TCP"})
	r.do("nvmf_create_subsystem", object{"nqn": nqn, "allow_any_host": true, "serial_number": "BENCH"})
	for _, name := range bdevs {
		r.do("nvmf_subsystem_add_ns", object{"nqn": nqn, "namespace": object{"bdev_name": name}})
	}
	r.do("nvmf_subsystem_add_listener", object{"nqn": nqn, "listen_address": object{
		"trtype": "TCP", "adrfam": "IPv4", "traddr": address, "trsvcid": port,
	}})
}
