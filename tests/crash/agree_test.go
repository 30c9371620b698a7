// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

// picture is what store and data plane hold at one moment. It shows them to the kinds' declarations,
// so that what should exist is worked out from the records alone.
type picture struct {
	registry *resource.Registry
	records  map[resource.Name]*resource.Record
	have     map[driver.Key]driver.Object
	foreign  map[driver.Key]driver.Object // what must be there though no record asks for it
}

// Record implements [resource.View].
func (p *picture) Record(name resource.Name) *resource.Record { return p.records[name] }

// Records implements [resource.View].
func (p *picture) Records(collection string) []*resource.Record {
	var all []*resource.Record
	for name, rec := range p.records {
		if name.Collection() == collection {
			all = append(all, rec)
		}
	}
	slices.SortFunc(all, func(a, b *resource.Record) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Bdev implements [resource.View].
func (p *picture) Bdev(ref string) (string, error) {
	if !strings.Contains(ref, "/") {
		return ref, nil
	}
	name := resource.Name(ref)
	k := p.registry.ByName(name)
	switch {
	case k == nil:
		return "", fmt.Errorf("%q is no resource", ref)
	case k.Derived():
		return k.Bdev(name, nil), nil
	case p.records[name] == nil:
		return "", fmt.Errorf("%s is not in the store", ref)
	}
	return p.Bdev(k.Bdev(name, p.records[name].Message))
}

// Firmware implements [resource.View]; no resource is made of it.
func (*picture) Firmware() string { return "" }

// Observed implements [resource.View].
func (p *picture) Observed(key driver.Key) driver.Object { return p.have[key] }

// Brought implements [resource.View].
func (p *picture) Brought(controller string) []*driver.Bdev {
	var all []*driver.Bdev
	for _, o := range p.have {
		if b, ok := o.(*driver.Bdev); ok && b.Nvme != nil && b.Nvme.Controller == controller {
			all = append(all, b)
		}
	}
	return all
}

// look takes a picture.
func (r *rig) look(ctx context.Context) (*picture, error) {
	docs, err := r.records.Load(ctx)
	if err != nil {
		return nil, err
	}
	seen, err := r.eye.Observe(ctx)
	if err != nil {
		return nil, err
	}
	r.lookAtSockets(ctx, seen.Objects)
	p := &picture{registry: r.registry, records: map[resource.Name]*resource.Record{}, have: seen.Objects, foreign: r.foreign}
	for _, d := range docs {
		name := resource.Name(d.Name)
		k := r.registry.ByName(name)
		if k == nil {
			return nil, fmt.Errorf("%s is of no kind", name)
		}
		secrets, err := r.unseal(d)
		if err != nil {
			return nil, err
		}
		if p.records[name], err = k.Decode(name, d.Revision, d.Body, secrets); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// lookAtSockets adds the sockets of virtio-scsi controllers to what is there. The data plane does not tell of
// them, so each is tried.
func (r *rig) lookAtSockets(ctx context.Context, have map[driver.Key]driver.Object) {
	for _, o := range slices.Collect(maps.Values(have)) {
		s, ok := o.(*driver.VirtioScsi)
		if !ok || r.foreign[s.Key()] != nil {
			continue
		}
		conn, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(r.vhosts, s.Name))
		if err != nil {
			continue
		}
		_ = conn.Close()
		socket := &driver.VirtioScsiSocket{Controller: s.Name}
		have[socket.Key()] = socket
	}
}

// unseal opens the secrets of a document.
func (r *rig) unseal(d store.Document) (map[string]secret.Value, error) {
	sealed := map[string]string{}
	if len(d.Sealed) > 0 {
		if err := json.Unmarshal(d.Sealed, &sealed); err != nil {
			return nil, err
		}
	}
	secrets := map[string]secret.Value{}
	for field, text := range sealed {
		value, err := r.sealer.Open(text, secret.Place{Document: d.Name, Field: field})
		if err != nil {
			return nil, err
		}
		secrets[field] = value
	}
	return secrets, nil
}

// agrees says where records and data plane differ: nothing may be under way, missing, otherwise, or
// left over.
func (p *picture) agrees() error {
	want := maps.Clone(p.foreign)
	if want == nil {
		want = map[driver.Key]driver.Object{}
	}
	var errs []error
	for name, rec := range p.records {
		if rec.State != resource.StateReady {
			errs = append(errs, fmt.Errorf("%s is %s", name, rec.State))
		}
		objects, err := rec.Kind.Objects(rec, rec.Message, p)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		for _, o := range objects {
			want[o.Key()] = o
		}
	}
	for key, o := range want {
		if have := p.have[key]; have == nil {
			errs = append(errs, fmt.Errorf("%s is missing in the data plane", key))
		} else if differ := o.Differences(have); len(differ) > 0 {
			errs = append(errs, fmt.Errorf("%s differs in %v: want %+v, have %+v", key, differ, o, have))
		}
	}
	for key, o := range p.have {
		if b, ok := o.(*driver.Bdev); want[key] == nil && (!ok || b.Nvme == nil || !attached(want, b.Nvme.Controller)) {
			errs = append(errs, fmt.Errorf("%s is left over: %+v", key, o))
		}
	}
	return errors.Join(errs...)
}

// attached says whether a path of the controller is wanted: then its bdevs come along.
func attached(want map[driver.Key]driver.Object, controller string) bool {
	for _, o := range want {
		if p, ok := o.(*driver.Path); ok && p.Controller == controller {
			return true
		}
	}
	return false
}

// settleTime bounds how long the test waits until everything agrees again after a fault. It is no
// measure of the bridge: what is, is printed at the end as the slowest agreement.
const settleTime = time.Minute

// settled waits until store, data plane and API agree; it returns the last difference otherwise.
func (r *rig) settled() error {
	ctx, cancel := context.WithTimeout(r.t.Context(), settleTime)
	defer cancel()
	wait := time.NewTimer(0)
	defer wait.Stop()
	var last error
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 30*time.Millisecond) {
		wait.Reset(pause)
		asking, done := context.WithTimeout(ctx, callTime)
		p, err := r.look(asking)
		if err == nil {
			err = p.agrees()
		}
		if err == nil {
			err = errors.Join(r.serves(asking, p), r.keyFiles(p))
		}
		done()
		switch {
		case err == nil:
			return nil
		case last == nil || ctx.Err() == nil:
			last = err // not that there was no time for another look
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no agreement within %v: %w", settleTime, last)
		case <-wait.C:
		}
	}
}

// serves checks that the bridge takes mutations, and answers reads with what the store holds.
func (r *rig) serves(ctx context.Context, p *picture) error {
	if err := r.client.remove(ctx, r.kinds["nullVolume"], "nullVolumes/nothing"); err != nil {
		return err
	}
	if err := r.client.content(ctx); err != nil {
		return err
	}
	for _, name := range r.known {
		if got, err := r.get(r.kindOf(name), name); err != nil || got != nil && p.records[name] == nil {
			return fmt.Errorf("%s is not stored, and served as %v, %w", name, got, err)
		}
	}
	for name, rec := range p.records {
		got, err := r.client.get(ctx, rec.Kind, name)
		if err != nil {
			return fmt.Errorf("%s is stored, and: %w", name, err)
		}
		if differ := resource.Changed(lasting(rec.Kind.Live(rec, p)), got); len(differ) > 0 {
			return fmt.Errorf("%s is stored and served otherwise: %v", name, differ)
		}
	}
	return nil
}

// keyFiles checks that there is a file for each pre-shared key in the data plane, and no other.
func (r *rig) keyFiles(p *picture) error {
	files, err := os.ReadDir(filepath.Join(filepath.Dir(r.keyFile), "keys"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	keys := 0
	for key := range p.have {
		if key.Type == driver.TypeTLSKey {
			keys++
		}
	}
	if len(files) != keys {
		return fmt.Errorf("%d pre-shared keys, and files %v", keys, files)
	}
	return nil
}

// standing checks that everything built before is as it was answered then.
func (r *rig) standing() error {
	for name, want := range r.made {
		got, err := r.get(r.kindOf(name), name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if got == nil || !proto.Equal(got, want) {
			return fmt.Errorf("%s was %v and is %v", name, want, got)
		}
	}
	return nil
}
