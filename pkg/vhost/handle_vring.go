// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"encoding/binary"
	"fmt"
)

// The payload of messages that carry an eventfd: the queue, and whether there is none.
const (
	vringIndexMask = 0xff
	vringNoFD      = 1 << 8
)

func (s *session) setVringNum(m *message) error {
	index, size, err := m.vring()
	if err != nil {
		return err
	}
	q, err := s.queue(index)
	if err != nil {
		return err
	}
	if size == 0 || size > maxQueueSize || size&(size-1) != 0 {
		return fmt.Errorf("queue %d of %d descriptors: the size must be a power of 2, at most %d", index, size, maxQueueSize)
	}
	if uint16(size) == q.size {
		return nil
	}
	if err := q.drain(); err != nil {
		return err
	}
	q.size, q.fresh = uint16(size), true
	return nil
}

func (s *session) setVringAddr(m *message) error {
	const head = 8 // queue, flags
	if err := m.want(head + 24); err != nil {
		return err
	}
	q, err := s.queue(m.u32(0))
	if err != nil {
		return err
	}
	addrs := ringAddrs{desc: m.u64(head), used: m.u64(head + 8), avail: m.u64(head + 16)}
	if q.located && q.addrs == addrs {
		return nil
	}
	q.suspend()
	q.addrs, q.located = addrs, true
	q.start()
	return nil
}

func (s *session) setVringBase(m *message) error {
	index, base, err := m.vring()
	if err != nil {
		return err
	}
	q, err := s.queue(index)
	if err != nil {
		return err
	}
	if base > 0xffff {
		return fmt.Errorf("queue %d begins at %d, which is not an index of a split ring", index, base)
	}
	if err := q.drain(); err != nil {
		return err
	}
	q.base, q.fresh = uint16(base), true
	q.start()
	return nil
}

// getVringBase stops a queue, and says where it is.
func (s *session) getVringBase(m *message) error {
	index, _, err := m.vring()
	if err != nil {
		return err
	}
	q, err := s.queue(index)
	if err != nil {
		return err
	}
	if err := q.drain(); err != nil {
		return err
	}
	if !q.fresh {
		q.base, q.fresh = q.nextAvail, true
	}
	err = q.kick.close()
	q.kick = nil
	if err != nil {
		return err
	}
	payload := binary.LittleEndian.AppendUint32(nil, index)
	return s.conn.send(m.request, binary.LittleEndian.AppendUint32(payload, uint32(q.base)), -1)
}

// setVringFD takes an eventfd of a queue.
func (s *session) setVringFD(m *message) error {
	value, err := m.number()
	if err != nil {
		return err
	}
	q, err := s.queue(uint32(value & vringIndexMask))
	if err != nil {
		return err
	}
	var e *eventfd
	if value&vringNoFD == 0 {
		fd, err := m.takeFD()
		if err != nil {
			return err
		}
		if e, err = newEventfd(fd); err != nil {
			return fmt.Errorf("queue %d: %w", q.index, err)
		}
	} else if m.request == reqSetVringKick {
		return fmt.Errorf("queue %d shall be polled, and this back end waits for kicks", q.index)
	}
	q.suspend()
	switch m.request {
	case reqSetVringKick:
		e, q.kick = q.kick, e
		kick := q.kick
		s.kickers.Go(func() {
			for kick.wait() == nil {
				q.poke()
			}
		})
	case reqSetVringCall:
		e, q.call = q.call, e
		q.told = false
	default:
		s.mu.Lock()
		e, q.errs = q.errs, e
		s.mu.Unlock()
	}
	q.start()
	return e.close()
}

// setVringEnable lets a queue run or stops it.
func (s *session) setVringEnable(m *message) error {
	index, on, err := m.vring()
	if err != nil {
		return err
	}
	q, err := s.queue(index)
	if err != nil {
		return err
	}
	if on > 1 {
		return fmt.Errorf("queue %d cannot be enabled with %d", index, on)
	}
	q.enabled = on == 1
	if on == 0 {
		return q.drain()
	}
	q.start()
	return nil
}
