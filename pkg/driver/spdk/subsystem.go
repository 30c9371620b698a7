// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"errors"
	"regexp"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// findSubsystem returns a subsystem and what is in it; nothing if there is none.
func (d *Driver) findSubsystem(ctx context.Context, nqn string) ([]driver.Object, error) {
	found, err := spdkrpc.GetNvmfSubsystem(ctx, d.client, nqn)
	if r := spdkrpc.Refusal(err); r != nil && (r.Code == spdkrpc.CodeNoDevice || r.Code == spdkrpc.CodeInvalidParams) {
		return nil, nil // the former up to v26.05
	}
	if err != nil {
		return nil, plain("nvmf_get_subsystems", err, "look for subsystem %s", nqn)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return d.subsystemObjects(&found[0]), nil
}

// within looks for key in the subsystem nqn, after method was refused with err. It fails with
// NotFound if the subsystem does not exist, and returns a nil object if only that is not there.
func (d *Driver) within(ctx context.Context, nqn string, key driver.Key, method string, err error) (driver.Object, []driver.Object, error) {
	all, lookErr := d.findSubsystem(ctx, nqn)
	if lookErr != nil {
		return nil, nil, lookErr
	}
	if len(all) == 0 {
		return nil, nil, refuse(errdefs.NotFound, method, err, "subsystem %s does not exist", nqn)
	}
	return find(all, key), all, nil
}

// gone returns the outcome of a delete in the subsystem nqn that was refused with err: it is done if
// there is nothing to delete.
func (d *Driver) gone(ctx context.Context, nqn string, key driver.Key, method string, err error) error {
	if err == nil {
		return nil
	}
	if settled(err) {
		return plain(method, err, "delete %s", key)
	}
	there, _, lookErr := d.within(ctx, nqn, key, method, err)
	switch {
	case errdefs.ClassOf(lookErr) == errdefs.NotFound:
		return nil
	case lookErr != nil:
		return lookErr
	case there == nil:
		return nil
	}
	return refuse(errdefs.Internal, method, err, "%s is there and cannot be deleted", key)
}

func (d *Driver) createSubsystem(ctx context.Context, step *driver.Step, s *driver.Subsystem) error {
	const method = "nvmf_create_subsystem"
	err := spdkrpc.NvmfCreateSubsystem{
		NQN: s.NQN, SerialNumber: s.SerialNumber, ModelNumber: s.ModelNumber, MaxNamespaces: s.MaxNamespaces,
		AllowAnyHost: s.AllowAnyHost, MinCntlid: s.MinCntlid, MaxCntlid: s.MaxCntlid,
	}.Do(ctx, d.client)
	if err == nil {
		return nil
	}
	if settled(err) {
		return plain(method, err, "create subsystem %s", s.NQN)
	}
	all, lookErr := d.findSubsystem(ctx, s.NQN)
	if lookErr != nil {
		return lookErr
	}
	if there := find(all, s.Key()); there != nil {
		return exists(step, there, method, err)
	}
	switch code := spdkrpc.Refusal(err).Code; {
	case !validNQN(s.NQN):
		return refuse(errdefs.InvalidArgument, method, err,
			"subsystem %q: not an NQN that SPDK takes: nqn.YYYY-MM.reverse.domain:name, 11 to 223 bytes", s.NQN)
	case code == spdkrpc.CodeInternal:
		// Neither taken nor malformed: what remains is that there is no room for one more.
		return d.noRoom(ctx, s.NQN, method, err)
	}
	return refuse(errdefs.InvalidArgument, method, err,
		"subsystem %s: serial number %q, model number %q or controller ids %d to %d are not what SPDK takes",
		s.NQN, s.SerialNumber, s.ModelNumber, s.MinCntlid, s.MaxCntlid)
}

// nqnForm is SPDK's idea of an NQN, apart from the length. Labels of the domain begin with a letter
// and end with a letter or digit.
var nqnForm = regexp.MustCompile(`^nqn\.\d{4}-\d{2}\.[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?)*:.+$`)

// validNQN tells whether SPDK refuses an NQN for its form.
func validNQN(nqn string) bool {
	const shortest, longest = 11, 223
	return len(nqn) >= shortest && len(nqn) <= longest && nqnForm.MatchString(nqn)
}

func (d *Driver) updateSubsystem(ctx context.Context, step *driver.Step, s *driver.Subsystem) error {
	differences := s.Differences(step.From)
	if len(differences) == 0 {
		return nil
	}
	if len(differences) > 1 || differences[0] != "allow_any_host" {
		return notInPlace(step, "only allow_any_host can be changed, not %v", differences)
	}
	const method = "nvmf_subsystem_allow_any_host"
	err := spdkrpc.NvmfAllowAnyHost{NQN: s.NQN, AllowAnyHost: s.AllowAnyHost}.Do(ctx, d.client)
	if err == nil {
		return nil
	}
	if !settled(err) {
		if _, _, lookErr := d.within(ctx, s.NQN, s.Key(), method, err); lookErr != nil {
			return lookErr
		}
	}
	return plain(method, err, "change subsystem %s", s.NQN)
}

// destroyPause is how often a subsystem that somebody else is deleting is looked for.
const destroyPause = 10 * time.Millisecond

func (d *Driver) deleteSubsystem(ctx context.Context, s *driver.Subsystem) error {
	const method = "nvmf_delete_subsystem"
	err := spdkrpc.NvmfDeleteSubsystem(ctx, d.client, s.NQN)
	if err == nil {
		return nil
	}
	if settled(err) {
		return plain(method, err, "delete subsystem %s", s.NQN)
	}
	// It may be on its way out already, by an earlier delete whose answer was lost.
	for range 100 {
		all, lookErr := d.findSubsystem(ctx, s.NQN)
		if lookErr != nil {
			return lookErr
		}
		if len(all) == 0 {
			return nil
		}
		if spdkrpc.Refusal(err).Code != spdkrpc.CodeInternal {
			break
		}
		if waitErr := pause(ctx, destroyPause); waitErr != nil {
			return waitErr
		}
	}
	return refuse(errdefs.Aborted, method, err, "subsystem %s is there and cannot be deleted: try again", s.NQN)
}

// pause waits, or returns that ctx has ended before anything was changed.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return stopped(ctx)
	}
}

// stopped is the outcome of a step whose ctx has ended before anything was changed.
func stopped(ctx context.Context) error {
	class := errdefs.Canceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		class = errdefs.DeadlineExceeded
	}
	return errdefs.Wrap(class, context.Cause(ctx), "not tried")
}

func (d *Driver) createHost(ctx context.Context, step *driver.Step, h *driver.Host) error {
	const method = "nvmf_subsystem_add_host"
	if h.TLSKey != "" {
		// Only a TCP transport that exists takes the key, and a key that nobody has taken is lost.
		if err := d.ensureTransport(ctx, driver.TransportTCP); err != nil {
			return err
		}
	}
	if sess, _ := d.now(); !sess.features.HostsOnce && sess.methods != nil {
		all, err := d.findSubsystem(ctx, h.Subsystem)
		if there := find(all, h.Key()); err == nil && there != nil {
			return exists(step, there, method, nil)
		}
	}
	err := spdkrpc.NvmfAddHost{NQN: h.Subsystem, Host: h.NQN, Psk: d.psk(h.TLSKey)}.Do(ctx, d.client)
	if err == nil {
		return nil
	}
	if settled(err) {
		return plain(method, err, "allow host %s on subsystem %s", h.NQN, h.Subsystem)
	}
	there, _, lookErr := d.within(ctx, h.Subsystem, h.Key(), method, err)
	switch {
	case lookErr != nil:
		return lookErr
	case there != nil:
		return exists(step, there, method, err)
	case h.TLSKey != "" && validNQN(h.NQN):
		return refuse(errdefs.FailedPrecondition, method, err,
			"host %s on subsystem %s: TLS key %s is not one that the data plane can use: it must exist, be in the interchange format, and its file readable",
			h.NQN, h.Subsystem, h.TLSKey)
	}
	return refuse(errdefs.InvalidArgument, method, err,
		"host %q on subsystem %s: not an NQN that SPDK takes: nqn.YYYY-MM.reverse.domain:name, 11 to 223 bytes", h.NQN, h.Subsystem)
}

func (d *Driver) deleteHost(ctx context.Context, h *driver.Host) error {
	err := spdkrpc.NvmfRemoveHost{NQN: h.Subsystem, Host: h.NQN}.Do(ctx, d.client)
	return d.gone(ctx, h.Subsystem, h.Key(), "nvmf_subsystem_remove_host", err)
}
