// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/base64"
	"reflect"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
)

// FuzzSendCommand reads the parameters of bdev_nvme_send_cmd, which carry an NVMe command and its data
// in base64: whatever stands there, what comes out of it is bounded and what was sent.
func FuzzSendCommand(f *testing.F) {
	entry := base64.URLEncoding.EncodeToString(make([]byte, nvme.SQESize))
	for _, seed := range []string{
		`{"name":"a","cmd_type":"admin","data_direction":"c2h","cmdbuf":"` + entry + `","data_len":4096,"timeout_ms":1}`,
		`{"name":"a","cmd_type":"io","data_direction":"h2c","cmdbuf":"` + entry + `","data":"AAAA","data_len":3}`,
		`{"name":"a","cmd_type":"io","data_direction":"h2c","cmdbuf":"` + entry + `","data":"AA==","data_len":4294967295}`,
		`{"name":"a","cmd_type":"io","data_direction":"c2h","cmdbuf":"` + entry[:4] + `","data_len":4294967295}`,
		`{"name":"a","cmd_type":"io","data_direction":"c2h","cmdbuf":"` + entry + `","data_len":4294967295}`,
		`{"name":"a","cmd_type":"","data_direction":"up","cmdbuf":"\n+/"}`,
	} {
		f.Add([]byte(seed))
	}
	plan := newPlan(reflect.TypeFor[sendCommandParams]())
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p sendCommandParams
		plan.read(raw, reflect.ValueOf(&p).Elem())
		c, ok := p.command()
		if !ok {
			return
		}
		if again := base64.URLEncoding.EncodeToString(c.Entry[:]); !sameBytes(again, p.Cmdbuf) {
			t.Errorf("command %s became %s", p.Cmdbuf, again)
		}
		switch {
		case p.Data != nil && !sameBytes(base64.URLEncoding.EncodeToString(c.Data), *p.Data):
			t.Errorf("data %s became %x", *p.Data, c.Data)
		case p.Data == nil && (len(c.Data) != int(p.DataLen) || len(c.Data) > host.CommandDataMax):
			t.Errorf("%d bytes of room for data_len %d", len(c.Data), p.DataLen)
		case len(c.Data) > max(len(raw), host.CommandDataMax):
			t.Errorf("%d bytes of data out of %d of parameters", len(c.Data), len(raw))
		}
	})
}

// sameBytes says whether two texts in base64 stand for the same. The last character may carry bits that
// mean nothing.
func sameBytes(proper, given string) bool {
	a, err := base64.URLEncoding.DecodeString(proper)
	if err != nil {
		return false
	}
	b, err := base64.URLEncoding.DecodeString(given)
	return err == nil && string(a) == string(b)
}
