// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/api"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/server"
)

// Every method of the API is reached over REST: an engine without kinds answers 501 to each, a route
// that is missing would answer 404 or 405.
func TestEveryMethodHasItsRoute(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	variable := regexp.MustCompile(`\{[^=}]*=([^}]*)\}`)
	last := map[string]api.Route{} // of two methods at one route, which the API has once, the last has it
	reached := map[protoreflect.FullName]bool{}
	for _, route := range api.Routes() {
		last[route.HTTPMethod+route.Template] = route
	}
	for _, route := range last {
		reached[route.Method.FullName()] = true
		body := ""
		if route.Body != "" {
			body = "{}"
		}
		path := strings.ReplaceAll(variable.ReplaceAllString(route.Template, "$1"), "**", "nullVolumes/some-id")
		path = strings.ReplaceAll(path, "*", "some-id")
		code, answer := r.do(t, route.HTTPMethod, path, body)
		if code != http.StatusNotImplemented || !strings.Contains(answer, string(route.Method.Name())) {
			t.Errorf("%s %s: %d %s, want %s", route.HTTPMethod, path, code, answer, route.Method.Name())
		}
	}
	for _, service := range api.Services() {
		for i := range service.Methods().Len() {
			if m := service.Methods().Get(i); !reached[m.FullName()] {
				t.Errorf("%s has no route of its own", m.FullName())
			}
		}
	}
}

// What a REST request carries takes effect or is refused, and no value is repeated in the refusal.
func TestRESTRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	const secret = "c2VjcmV0LXBzaw"
	for _, row := range []struct{ what, method, path, body, says string }{
		{"unknown field", "POST", "/v1/nullVolumes?null_volume_id=vol-0", `{"blokSize": 512}`, `unknown field \"blokSize\"`},
		{"unknown field, as a detail", "POST", "/v1/nullVolumes?null_volume_id=vol-0", `{"blokSize": 512}`, `"field":"blokSize"`},
		{"unknown query parameter", "GET", "/v1/nullVolumes?pageSizes=5", "", "not a query parameter"},
		{"query parameter that belongs into the body", "POST", "/v1/nullVolumes?null_volume.block_size=512", "{}", "not a query parameter"},
		{"query parameter that stands in the path", "GET", "/v1/nullVolumes/vol-0?name=other", "", "not a query parameter"},
		{"malformed query", "GET", "/v1/nullVolumes?pageSize=%zz", "", "malformed"},
		{"wrong type in the query", "GET", "/v1/nullVolumes?pageSize=many", "", `"field":"page_size","description":"\"many\" is not an integer`},
		{"too large for its type", "GET", "/v1/nullVolumes?pageSize=99999999999", "", `"field":"page_size"`},
		{"no truth value", "DELETE", "/v1/nullVolumes/vol-0?allow_missing=maybe", "", `"field":"allow_missing"`},
		{"a parameter twice", "GET", "/v1/nullVolumes?page_size=1&pageSize=1", "", `"field":"page_size"`},
		{"a path that is no text", "GET", "/v1/nullVolumes/%ff", "", `"field":"name","description":"the path`},
		{"a query that is no text", "POST", "/v1/nullVolumes?null_volume_id=%ff", "{}", `"field":"null_volume_id"`},
		{"another name than in the path", "PATCH", "/v1/nullVolumes/vol-0", `{"name":"nullVolumes/vol-1"}`, `"field":"null_volume.name"`},
		{"an odd deadline", "GET", "/v1/nullVolumes/vol-0", "", "grpc-timeout"},
		{"half an object", "POST", "/v1/nullVolumes", `{"blockSize": `, "not complete JSON"},
		{"two objects", "POST", "/v1/nullVolumes", `{} {}`, "goes on behind"},
		{"a value of the wrong type", "POST", "/v1/nvmeSubsystems", `{"spec": {"psk": "` + secret + `!"}}`, "invalid value for bytes field psk"},
		{"a key where none belongs", "POST", "/v1/nvmeSubsystems", `{"spec": "` + secret + `"}`, "JSON of this request"},
		{"broken syntax", "POST", "/v1/nvmeSubsystems", `{"spec": {"psk": ` + secret + `}}`, "JSON of this request"},
		{"a list for an object", "POST", "/v1/nullVolumes", `[]`, "JSON of this request"},
		{"twice", "POST", "/v1/nullVolumes", `{"blockSize": 1, "block_size": 2}`, `a duplicate field`},
	} {
		var headers []string
		if row.says == "grpc-timeout" {
			headers = []string{"Grpc-Timeout", "soon"}
		}
		code, answer := r.do(t, row.method, row.path, row.body, headers...)
		var status struct {
			Code    int
			Message string
			Details []struct{ Reason, Domain string }
		}
		if err := json.Unmarshal([]byte(answer), &status); err != nil || status.Code != 3 {
			t.Errorf("%s: the answer is no google.rpc.Status of INVALID_ARGUMENT: %s", row.what, answer)
		}
		if len(status.Details) == 0 || status.Details[0].Reason != "INVALID_ARGUMENT" || status.Details[0].Domain != "opi-bridge" {
			t.Errorf("%s: the answer has no google.rpc.ErrorInfo: %s", row.what, answer)
		}
		answer = strings.NewReplacer(`": `, `":`, `, "`, `,"`).Replace(answer)
		if code != http.StatusBadRequest || !strings.Contains(answer, row.says) {
			t.Errorf("%s: %d %s", row.what, code, answer)
		}
		if strings.Contains(answer, secret) || strings.Contains(r.log.String(), secret) {
			t.Errorf("%s: a secret came out: %s", row.what, answer)
		}
	}
}

func TestRESTAnswers(t *testing.T) {
	t.Parallel()
	r := start(t, func(cfg *server.Config) {
		cfg.Register = getting(func(_ context.Context, req *pb.GetNullVolumeRequest) (*pb.NullVolume, error) {
			if req.GetName() == "nullVolumes/gone" {
				return nil, errdefs.New(errdefs.NotFound, "%s does not exist", req.GetName())
			}
			return &pb.NullVolume{Name: req.GetName(), BlockSize: 512}, nil
		})
	})
	code, answer := r.do(t, "GET", "/v1/nullVolumes/vol-0", "")
	for _, part := range []string{`"name":"nullVolumes/vol-0"`, `"blockSize":"512"`, `"uuid":""`} {
		if code != http.StatusOK || !strings.Contains(strings.ReplaceAll(answer, ": ", ":"), part) {
			t.Errorf("%d %s lacks %s", code, answer, part)
		}
	}
	code, answer = r.do(t, "GET", "/v1/nullVolumes/gone", "")
	for _, part := range []string{`"code":5`, "does not exist", "google.rpc.ErrorInfo", "opi-bridge"} {
		if code != http.StatusNotFound || !strings.Contains(strings.ReplaceAll(answer, ": ", ":"), part) {
			t.Errorf("%d %s lacks %s", code, answer, part)
		}
	}
	if code, answer := r.do(t, "GET", "/v1/nothing/here", ""); code != http.StatusNotFound || !strings.Contains(answer, `"code"`) {
		t.Errorf("a path that is none: %d %s", code, answer)
	}
}

// The deadline that a REST client states reaches the handler, and passes there.
func TestRESTDeadline(t *testing.T) {
	t.Parallel()
	r := start(t, func(cfg *server.Config) {
		cfg.Register = getting(func(ctx context.Context, _ *pb.GetNullVolumeRequest) (*pb.NullVolume, error) {
			if _, ok := ctx.Deadline(); !ok {
				return nil, errors.New("no deadline")
			}
			<-ctx.Done()
			return nil, ctx.Err()
		})
	})
	if code, answer := r.do(t, "GET", "/v1/nullVolumes/vol-0", "", "Grpc-Timeout", "50m"); code != http.StatusGatewayTimeout {
		t.Errorf("%d %s", code, answer)
	}
}

// What says that there is no time left is not taken for no deadline.
func TestRESTWithoutTime(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	if code, answer := r.do(t, "GET", "/v1/nullVolumes/vol-0", "", "Grpc-Timeout", "0S"); code != http.StatusGatewayTimeout {
		t.Errorf("%d %s", code, answer)
	}
}

// An update over REST means what it means over gRPC, whether its body sets something or not.
func TestRESTUpdates(t *testing.T) {
	t.Parallel()
	var got *pb.UpdateNullVolumeRequest
	r := start(t, func(cfg *server.Config) {
		cfg.Register = updating(func(req *pb.UpdateNullVolumeRequest) { got = req })
	})
	for _, row := range []struct {
		query, body string
		want        []string
	}{
		{"", "", nil},
		{"", "{}", nil},
		{"?update_mask=", "{}", nil},
		{"", `{"blocksCount":"5"}`, []string{"blocks_count"}},
		{"", `{"name":"nullVolumes/vol-0","uuid":""}`, []string{"name", "uuid"}},
		{"", `{"name":"volumes/vol-0"}`, []string{"name"}},
		{"?update_mask=*", `{"blocksCount":"5"}`, []string{"*"}},
		{"?updateMask=blocks_count,uuid", `{}`, []string{"blocks_count", "uuid"}},
	} {
		code, answer := r.do(t, "PATCH", "/v1/nullVolumes/vol-0"+row.query, row.body)
		mask := slices.Sorted(slices.Values(got.GetUpdateMask().GetPaths()))
		if code != http.StatusOK || got.GetNullVolume().GetName() != "nullVolumes/vol-0" || !slices.Equal(mask, row.want) {
			t.Errorf("%s %s: %d %s, mask %q, want %q", row.query, row.body, code, answer, mask, row.want)
		}
	}
}

// A REST client that goes away cancels what it asked for.
func TestRESTCancellation(t *testing.T) {
	t.Parallel()
	entered, canceled := make(chan struct{}), make(chan struct{})
	r := start(t, func(cfg *server.Config) {
		cfg.Register = getting(func(ctx context.Context, _ *pb.GetNullVolumeRequest) (*pb.NullVolume, error) {
			close(entered)
			<-ctx.Done()
			close(canceled)
			return nil, ctx.Err()
		})
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.HTTPAddr()+"/v1/nullVolumes/vol-0", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-entered
		cancel()
	}()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err == nil {
		_ = resp.Body.Close()
		t.Error("the request was answered")
	}
	<-canceled
}
