// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

// TestPartialFailure restarts the data plane where something is missing, one thing at a time: all else
// comes up, the culprit is named, and everything is whole again when the cause has gone, with nobody
// restarting the bridge.
func TestPartialFailure(t *testing.T) {
	r := newRig(t)
	r.build()
	r.mustCreate("aioVolumes/free-1", fmt.Sprintf(`{"block_size":512,"filename":%q}`, r.file("free.img", 2048)))
	r.mustCreate(web+"/nvmeNamespaces/disk-6", disk("aioVolumes/free-1"))
	for _, c := range causes(r) {
		ok := t.Run(c.name, func(t *testing.T) {
			outer := r.t
			r.t, r.hand.t, r.far.t = t, t, t
			defer func() { r.t, r.hand.t, r.far.t = outer, outer, outer }()
			r.suffer(&c)
		})
		if !ok {
			return // what is not whole would fail every further one
		}
	}
}

// suffer restarts the data plane where a cause keeps something from being there, and takes it away.
func (r *rig) suffer(c *cause) {
	r.t.Helper()
	usual := []string{"--vhost-dir", r.vhosts}
	r.dataPlane.Kill()
	end := func() {}
	if c.begin != nil {
		end = c.begin(r)
	}
	r.dataPlane.StartWith(append(slices.Clone(usual), c.flags...)...)
	testkit.Eventually(r.t, "the culprits are named, and all else is there", func() error { return r.only(c.broken) })
	r.truthful(c.broken)
	r.mustCreate("nullVolumes/meanwhile", volume(8))
	r.must(r.remove("nullVolumes/meanwhile"))
	if c.quiet != "" {
		r.quiet(c.quiet)
	}
	if c.deleted != "" {
		r.must(r.remove(c.deleted))
		rest := maps.Clone(c.broken)
		delete(rest, c.deleted)
		testkit.Eventually(r.t, "the rest is broken as before", func() error { return r.only(rest) })
	}

	if c.flags != nil {
		r.dataPlane.Kill()
		r.dataPlane.StartWith(usual...)
	}
	end()
	testkit.Eventually(r.t, "everything is whole when the cause has gone", r.whole)
	if c.deleted != "" {
		r.mustCreate(c.deleted, c.body)
	}
}

// only checks that exactly these are not ready, and why.
func (r *rig) only(broken map[string]string) error {
	list, err := bridgev1.NewBridgeServiceClient(r.conn).ListResourceStatus(r.t.Context(), &bridgev1.ListResourceStatusRequest{NotReadyOnly: true})
	if err != nil {
		return err
	}
	var errs []error
	seen, shut := map[string]bool{}, 0
	for _, s := range list.GetResources() {
		seen[s.GetName()] = true
		switch words, expected := broken[s.GetName()]; {
		case !expected && strings.HasSuffix(s.GetName(), "/nvmeControllers/ctrl-1") && strings.Contains(s.GetError(), "hosts are not let in while"):
			shut++ // for a while, as long as disks behind it lack
		case !expected:
			errs = append(errs, fmt.Errorf("%s is not ready: %s", s.GetName(), s.GetError()))
		case !strings.Contains(s.GetError(), words) || s.GetErrorCode() == "" || s.GetNotReadySinceTime() == nil:
			errs = append(errs, fmt.Errorf("%s should say %q: %v", s.GetName(), words, s))
		}
	}
	for name := range broken {
		if !seen[name] {
			errs = append(errs, fmt.Errorf("%s is ready", name))
		}
	}
	s, err := r.status()
	if err == nil && (s.GetNotReadyCount() != int64(len(broken)+shut) || !s.GetReady()) {
		err = fmt.Errorf("the status says that %d are not ready, and ready is %t", s.GetNotReadyCount(), s.GetReady())
	}
	return errors.Join(append(errs, err)...)
}

// truthful checks that disks and listeners say of themselves what is true of them.
func (r *rig) truthful(broken map[string]string) {
	r.t.Helper()
	for _, name := range append(everything(), web+"/nvmeNamespaces/disk-6") {
		var says, there string
		switch path.Base(path.Dir(name)) {
		case "nvmeNamespaces":
			says, there = `"operState":`, `"OPER_STATE_ONLINE"`
		case "nvmeControllers":
			says, there = `"active":`, `true`
			if s, err := r.resource(name); err != nil || strings.Contains(s.GetError(), "hosts are not let in while") {
				continue
			}
		default:
			continue
		}
		answer, err := r.ask(http.MethodGet, name, "")
		r.must(err)
		_, rest, ok := strings.Cut(strings.ReplaceAll(answer, " ", ""), says)
		if _, bad := broken[name]; !ok || strings.HasPrefix(rest, there) == bad {
			r.t.Errorf("%s is broken: %t, and says %s", name, bad, answer)
		}
	}
}

// quiet checks that what is broken is tried again with patience: between two attempts at it the data
// plane is sent no more than a few passes need.
func (r *rig) quiet(name string) {
	r.t.Helper()
	reach := func(attempts int32) (calls float64) {
		testkit.Eventually(r.t, fmt.Sprintf("%d attempts at %s", attempts, name), func() error {
			s, err := r.resource(name)
			if err == nil && s.GetAttempts() < attempts {
				err = fmt.Errorf("%v", s)
			}
			return err
		})
		metrics, err := r.metrics()
		r.must(err)
		for series, n := range metrics {
			if strings.HasPrefix(series, "opi_bridge_data_plane_call_duration_seconds_count") && !strings.Contains(series, "notify_") {
				calls += n
			}
		}
		return calls
	}
	const between, most = 2, 60
	first := reach(3)
	if sent := reach(3+between) - first; sent > most {
		r.t.Errorf("between two attempts at %s the data plane was sent %v calls, more than %d", name, sent, most)
	}
}
