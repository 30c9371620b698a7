// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// reasonRefused is the errdefs reason of everything that SPDK refuses.
const reasonRefused = "SPDK_ERROR"

// refuse returns SPDK's refusal err of method as an error of the class that looking around has shown.
func refuse(class errdefs.Class, method string, err error, format string, args ...any) error {
	e := errdefs.Wrap(class, err, "%s", fmt.Sprintf(format, args...))
	if r := spdkrpc.Refusal(err); r != nil {
		e = e.WithInfo(reasonRefused, metadata(method, r))
	}
	return e
}

func metadata(method string, r *spdkrpc.Error) map[string]string {
	return map[string]string{
		"spdk_method": method, "spdk_code": strconv.Itoa(r.Code), "spdk_message": r.Message,
	}
}

// plain returns err of method as the error of an operation, without looking around. What is not a
// refusal keeps its class.
func plain(method string, err error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	r := spdkrpc.Refusal(err)
	if r == nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	class := errdefs.Internal
	switch r.Code {
	case spdkrpc.CodeMethodNotFound:
		return refuse(errdefs.Unimplemented, method, err, "%s: this data plane has no method %s", what, method)
	case spdkrpc.CodeNoMemory, spdkrpc.CodeNoSpace:
		class = errdefs.ResourceExhausted
	case spdkrpc.CodeInvalid, spdkrpc.CodeRange, spdkrpc.CodeIsDir, spdkrpc.CodeInvalidParams:
		class = errdefs.InvalidArgument
	case spdkrpc.CodeNoDevice, spdkrpc.CodeNxIO, spdkrpc.CodeNoEntry:
		class = errdefs.NotFound
	case spdkrpc.CodeExists, spdkrpc.CodeAlready:
		class = errdefs.AlreadyExists
	case spdkrpc.CodePerm, spdkrpc.CodeAccess, spdkrpc.CodeBusy:
		class = errdefs.FailedPrecondition
	case spdkrpc.CodeTimedOut:
		class = errdefs.Unavailable
	}
	return refuse(class, method, err, "%s", what)
}

// unsure returns err, which came after a change had been made, as one that does not say that nothing was
// done: the engine looks what is there and goes on from that. Every step that makes more than one change
// either takes back what it has made, or fails with this.
func unsure(err error, format string, args ...any) error {
	return errdefs.Wrap(errdefs.OutcomeUnknown, err, "%s", fmt.Sprintf(format, args...))
}

// settled reports whether err needs no looking around: there is none, or it is no refusal, or the
// method does not exist. It is a refusal to look into otherwise.
func settled(err error) bool {
	r := spdkrpc.Refusal(err)
	return r == nil || r.Code == spdkrpc.CodeMethodNotFound || r.Code == spdkrpc.CodeNoMemory
}

// exists returns the outcome of a create that was refused where observed is there already.
func exists(step *driver.Step, observed driver.Object, method string, err error) error {
	differences := step.Object.Differences(observed)
	key := step.Object.Key()
	switch {
	case len(differences) > 0:
		return refuse(errdefs.AlreadyExists, method, err, "%s exists and differs in %s: delete it, or use another name",
			key, strings.Join(differences, ", "))
	case step.Adopt:
		return nil
	}
	return refuse(errdefs.AlreadyExists, method, err, "%s exists already", key)
}

// notInPlace returns the outcome of an update that SPDK has no call for.
func notInPlace(step *driver.Step, format string, args ...any) error {
	return errdefs.Wrap(errdefs.FailedPrecondition, driver.ErrNotInPlace, "%s: %s", step.Object.Key(), fmt.Sprintf(format, args...))
}
