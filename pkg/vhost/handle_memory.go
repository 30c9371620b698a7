// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"errors"
	"fmt"
	"slices"
)

// setMemTable replaces the guest's memory.
func (s *session) setMemTable(m *message) error {
	if err := m.want(8); err != nil {
		return err
	}
	n := int(m.u32(0))
	if n == 0 || n > maxTableRegions || n != len(m.fds) {
		return fmt.Errorf("a memory table has %d regions and %d file descriptors; there may be 1 to %d", n, len(m.fds), maxTableRegions)
	}
	if err := m.want(8 + n*regionBytes); err != nil {
		return err
	}
	var regions []*region
	fds := m.fds
	for i := range n {
		m.fds = fds[i+1:] // the others are closed by who reads messages
		r, err := mapRegion(fds[i], m.region(8+i*regionBytes))
		if err != nil {
			return errors.Join(err, unmapAll(regions))
		}
		regions = append(regions, r)
	}
	if err := s.replaceTable(regions); err != nil {
		return errors.Join(err, unmapAll(regions))
	}
	return nil
}

func unmapAll(regions []*region) error {
	var errs []error
	for _, r := range regions {
		errs = append(errs, r.unmap())
	}
	return errors.Join(errs...)
}

// replaceTable makes the regions the guest's memory. On error nothing has changed.
func (s *session) replaceTable(regions []*region) error {
	t, err := newTable(regions)
	if err != nil {
		return err
	}
	resume := s.suspendAll()
	before := s.table
	s.table = t
	resume()
	return before.release()
}

// regions returns those of the current table.
func (s *session) regions() []*region {
	if s.table == nil {
		return nil
	}
	return s.table.regions
}

// regionMessage is the length of a message about one region: padding and a description.
const regionMessage = 8 + regionBytes

func (s *session) addMemReg(m *message) error {
	if err := m.want(regionMessage); err != nil {
		return err
	}
	if len(s.regions()) >= maxMemSlots {
		return fmt.Errorf("there are %d memory regions already", maxMemSlots)
	}
	fd, err := m.takeFD()
	if err != nil {
		return err
	}
	r, err := mapRegion(fd, m.region(8))
	if err != nil {
		return err
	}
	if err := s.replaceTable(append(slices.Clone(s.regions()), r)); err != nil {
		return errors.Join(err, r.unmap())
	}
	return nil
}

// remMemReg removes a region. Some front ends send its descriptor once more; nobody takes it.
func (s *session) remMemReg(m *message) error {
	if err := m.want(regionMessage); err != nil {
		return err
	}
	spec := m.region(8)
	at := slices.IndexFunc(s.regions(), func(r *region) bool {
		return r.guest == spec.guest && r.user == spec.user && r.size == spec.size
	})
	if at < 0 {
		return fmt.Errorf("there is no memory region of %d bytes at %#x to remove", spec.size, spec.guest)
	}
	return s.replaceTable(slices.Delete(slices.Clone(s.regions()), at, at+1))
}
