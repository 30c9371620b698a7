// SPDX-License-Identifier: Apache-2.0

package spdkrpc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// sent takes down what would be sent.
type sent struct {
	method string
	params map[string]any
}

// recorder is a Caller that sends nothing.
type recorder struct {
	t    *testing.T
	last sent
}

func (r *recorder) Call(_ context.Context, method string, params, _ any) error {
	r.last = sent{method: method}
	if params == nil {
		return nil
	}
	raw, err := json.Marshal(params)
	if err != nil {
		r.t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&r.last.params); err != nil {
		r.t.Fatal(err)
	}
	return nil
}

// filled sets every field of a parameter struct to something that is not zero.
func filled[T any]() T {
	var p T
	fill(reflect.ValueOf(&p).Elem())
	return p
}

func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.String:
		v.SetString("11111111-1111-4111-8111-111111111111")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32:
		v.SetInt(-1)
	default:
		v.SetUint(200)
	}
}

// TestParameters fills every parameter struct, and then none of what may be left out, and holds
// names and types against what SPDK takes. SPDK refuses a whole call for one unknown name.
func TestParameters(t *testing.T) {
	t.Parallel()
	accepted := readAccepted(t)
	r := &recorder{t: t}
	ctx := t.Context()
	newest, oldest := spdkrpc.Version{}.Features(), spdkrpc.Features{}
	calls := []func() error{
		func() error { _, err := spdkrpc.GetVersion(ctx, r); return err },
		func() error { _, err := spdkrpc.GetMethods(ctx, r); return err },
		func() error { _, err := spdkrpc.GetBdevs(ctx, r); return err },
		func() error { _, err := spdkrpc.GetBdev(ctx, r, "b"); return err },
		func() error { return filled[spdkrpc.BdevMallocCreate]().Do(ctx, r) },
		func() error { return spdkrpc.BdevMallocCreate{}.Do(ctx, r) },
		func() error { return spdkrpc.BdevMallocDelete(ctx, r, "b") },
		func() error { return filled[spdkrpc.BdevNullCreate]().Do(ctx, r) },
		func() error { return spdkrpc.BdevNullCreate{}.Do(ctx, r) },
		func() error { return filled[spdkrpc.BdevNullResize]().Do(ctx, r) },
		func() error { return spdkrpc.BdevNullDelete(ctx, r, "b") },
		func() error { return filled[spdkrpc.BdevAioCreate]().Do(ctx, r) },
		func() error { return spdkrpc.BdevAioCreate{}.Do(ctx, r) },
		func() error { return spdkrpc.BdevAioRescan(ctx, r, "b") },
		func() error { return spdkrpc.BdevAioDelete(ctx, r, "b") },
		func() error { return filled[spdkrpc.AccelCryptoKeyCreate]().Do(ctx, r) },
		func() error { return spdkrpc.AccelCryptoKeyCreate{}.Do(ctx, r) },
		func() error { _, err := spdkrpc.GetAccelCryptoKeys(ctx, r); return err },
		func() error { _, err := spdkrpc.GetAccelCryptoKey(ctx, r, "k"); return err },
		func() error { return spdkrpc.AccelCryptoKeyDestroy(ctx, r, "k") },
		func() error { return filled[spdkrpc.BdevCryptoCreate]().Do(ctx, r) },
		func() error { return spdkrpc.BdevCryptoDelete(ctx, r, "c") },
		func() error { return filled[spdkrpc.BdevSetQosLimit]().Do(ctx, r) },
		func() error { return spdkrpc.BdevSetQosLimit{}.Do(ctx, r) },
		func() error { return filled[spdkrpc.KeyringFileAddKey]().Do(ctx, r) },
		func() error { return spdkrpc.KeyringFileRemoveKey(ctx, r, "k") },
		func() error { _, err := spdkrpc.GetKeyringKeys(ctx, r); return err },
		func() error { _, err := spdkrpc.GetVhostControllers(ctx, r); return err },
		func() error { return filled[spdkrpc.VhostCreateBlkController]().Do(ctx, r) },
		func() error { return filled[spdkrpc.VhostCreateScsiController]().Do(ctx, r) },
		func() error { return spdkrpc.VhostStartScsiController(ctx, r, "c") },
		func() error { return filled[spdkrpc.VhostScsiAddTarget]().Do(ctx, r) },
		func() error { return filled[spdkrpc.VhostScsiRemoveTarget]().Do(ctx, r) },
		func() error { return spdkrpc.VhostDeleteController(ctx, r, "c") },
		func() error { _, err := newest.GetIostat(ctx, r, []string{"b"}); return err },
		func() error { _, err := newest.GetIostat(ctx, r, nil); return err },
		func() error { _, err := oldest.GetIostat(ctx, r, nil); return err },
		func() error { _, err := spdkrpc.GetPathIostat(ctx, r, "b"); return err },
		func() error { _, err := filled[spdkrpc.NotifyGetNotifications]().Do(ctx, r); return err },
		func() error { _, err := spdkrpc.NotifyGetNotifications{}.Do(ctx, r); return err },
		func() error { return filled[spdkrpc.NvmeSetOptions]().Do(ctx, r) },
		func() error { return spdkrpc.NvmeSetOptions{}.Do(ctx, r) },
		func() error { _, err := filled[spdkrpc.NvmeAttach]().Do(ctx, r); return err },
		func() error { _, err := spdkrpc.NvmeAttach{}.Do(ctx, r); return err },
		func() error { return filled[spdkrpc.NvmeDetach]().Do(ctx, r) },
		func() error { return spdkrpc.NvmeDetach{}.Do(ctx, r) },
		func() error { _, err := spdkrpc.GetNvmeControllers(ctx, r); return err },
		func() error { return spdkrpc.NvmeResetController(ctx, r, "c") },
		func() error { return filled[spdkrpc.NvmfCreateTransport]().Do(ctx, r) },
		func() error { return spdkrpc.NvmfCreateTransport{}.Do(ctx, r) },
		func() error { _, err := spdkrpc.GetNvmfTransports(ctx, r); return err },
		func() error { return filled[spdkrpc.NvmfCreateSubsystem]().Do(ctx, r) },
		func() error { return spdkrpc.NvmfCreateSubsystem{}.Do(ctx, r) },
		func() error { return spdkrpc.NvmfDeleteSubsystem(ctx, r, "n") },
		func() error { _, err := spdkrpc.GetNvmfSubsystems(ctx, r); return err },
		func() error { _, err := spdkrpc.GetNvmfSubsystem(ctx, r, "n"); return err },
		func() error { return filled[spdkrpc.NvmfAddHost]().Do(ctx, r) },
		func() error { return filled[spdkrpc.NvmfRemoveHost]().Do(ctx, r) },
		func() error { return filled[spdkrpc.NvmfAllowAnyHost]().Do(ctx, r) },
		func() error { return filled[spdkrpc.NvmfAddListener]().Do(ctx, r) },
		func() error { return spdkrpc.NvmfAddListener{}.Do(ctx, r) },
		func() error { return filled[spdkrpc.NvmfRemoveListener]().Do(ctx, r) },
		func() error { _, err := filled[spdkrpc.NvmfAddNs]().Do(ctx, r); return err },
		func() error { _, err := spdkrpc.NvmfAddNs{}.Do(ctx, r); return err },
		func() error { return filled[spdkrpc.NvmfRemoveNs]().Do(ctx, r) },
		func() error { _, err := spdkrpc.GetNvmfQpairs(ctx, r, "n"); return err },
	}
	seen := map[string]bool{}
	for _, call := range calls {
		if err := call(); err != nil {
			t.Fatal(err)
		}
		seen[r.last.method] = true
		check(t, accepted, r.last.method, r.last.params)
	}
	for method := range accepted {
		if !seen[method] && !strings.Contains(method, ".") {
			t.Errorf("%s is accepted but not called: take it out of the list", method)
		}
	}
}

// check holds the parameters of one call against the list.
func check(t *testing.T, accepted map[string]map[string]string, method string, params map[string]any) {
	t.Helper()
	types, ok := accepted[method]
	if !ok {
		t.Errorf("%s is not in the list", method)
	}
	for name, kind := range types {
		if _, given := params[name]; strings.HasSuffix(kind, "!") && !given {
			t.Errorf("%s: %s is required, and missing", method, name)
		}
	}
	for name, value := range params {
		good := false
		switch kind := strings.TrimSuffix(types[name], "!"); kind {
		case "string":
			_, good = value.(string)
		case "uuid":
			s, _ := value.(string)
			good = len(s) == 36
		case "bool":
			_, good = value.(bool)
		case "int":
			_, good = value.(json.Number)
		case "uint":
			n, _ := value.(json.Number)
			good = n != "" && !strings.HasPrefix(n.String(), "-")
		case "strings":
			_, good = value.([]any)
		case "object":
			nested, _ := value.(map[string]any)
			good = nested != nil
			check(t, accepted, method+"."+name, nested)
		case "":
			t.Errorf("%s: SPDK does not know %s", method, name)
			continue
		}
		if !good {
			t.Errorf("%s: %s is %v, SPDK wants %s", method, name, value, types[name])
		}
	}
}

func readAccepted(t *testing.T) map[string]map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/accepted.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]string{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		all[words[0]] = map[string]string{}
		for _, w := range words[1:] {
			name, kind, _ := strings.Cut(w, ":")
			all[words[0]][name] = kind
		}
	}
	return all
}
