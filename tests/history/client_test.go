// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs/errgrpc"
	"github.com/opi-bridge/opi-bridge/tests/apitest"
)

// callTime bounds a call: long enough for every right answer, on a slow machine too.
const callTime = 30 * time.Second

// client calls any method of the storage API by its name, and waits for no answer for ever.
type client struct{ apitest.Client }

func dial(t *testing.T, addr string) client {
	t.Helper()
	return client{apitest.Dial(t, addr)}
}

// invoke calls a method with those of the fields that its request has.
func (c client) invoke(ctx context.Context, name string, fields map[string]any) (proto.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return c.Invoke(ctx, name, fields)
}

// outcome is what an answer says of whether the request took effect.
type outcome int

const (
	done     outcome = iota // it was answered without an error
	refused                 // the bridge says no, and why; nothing was done
	tryAgain                // the bridge says not now; nothing was done
	unknown                 // there is no answer, or the bridge does not know: it may yet happen
)

// judge says which of them an error is.
func judge(err error) outcome {
	if err == nil {
		return done
	}
	code := status.Code(err)
	ours, lost := false, false
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == errgrpc.Domain {
			ours, lost = true, info.GetReason() == errgrpc.ReasonOutcomeUnknown
		}
	}
	switch {
	case !ours, lost, code == codes.DeadlineExceeded, code == codes.Canceled:
		return unknown
	case code == codes.Unavailable, code == codes.Aborted:
		return tryAgain
	case code == codes.ResourceExhausted && strings.Contains(status.Convert(err).Message(), "the store did not confirm"):
		return tryAgain // it is full
	}
	return refused
}
