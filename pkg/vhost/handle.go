// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errHarmless is in the chain of an error which changes nothing between the two ends.
var errHarmless = errors.New("refused")

// errUnknown is in the chain of an error about a message that this back end does not understand.
var errUnknown = errors.New("unknown message")

// handle does what a message says. answered means that the answer has been sent.
func (s *session) handle(m *message) (answered bool, err error) {
	switch m.request {
	case reqGetFeatures:
		return true, s.sendNumber(m, s.offered())
	case reqGetProtocolFeatures:
		return true, s.sendNumber(m, protoOffered)
	case reqGetQueueNum:
		return true, s.sendNumber(m, maxQueues)
	case reqGetMaxMemSlots:
		return true, s.sendNumber(m, maxMemSlots)
	case reqGetConfig:
		return true, s.getConfig(m)
	case reqGetVringBase:
		return true, s.getVringBase(m)
	case reqGetInflightFD:
		return true, s.getInflight(m)
	}
	return false, s.set(m)
}

// set does what a message without an answer of its own says.
func (s *session) set(m *message) error {
	switch m.request {
	case reqSetOwner, reqResetOwner:
		return nil
	case reqSetFeatures:
		return s.setFeatures(m)
	case reqSetProtocolFeatures:
		return s.setProtocolFeatures(m)
	case reqSetMemTable:
		return s.setMemTable(m)
	case reqAddMemReg:
		return s.addMemReg(m)
	case reqRemMemReg:
		return s.remMemReg(m)
	case reqSetVringNum:
		return s.setVringNum(m)
	case reqSetVringAddr:
		return s.setVringAddr(m)
	case reqSetVringBase:
		return s.setVringBase(m)
	case reqSetVringKick, reqSetVringCall, reqSetVringErr:
		return s.setVringFD(m)
	case reqSetVringEnable:
		return s.setVringEnable(m)
	case reqSetConfig:
		return fmt.Errorf("%w: the config space cannot be written", errHarmless)
	case reqSetInflightFD:
		return s.setInflight(m)
	case reqSetBackendReqFD:
		return s.setBackendReqFD(m)
	case reqResetDevice:
		return s.resetDevice()
	}
	return fmt.Errorf("%w: number %d", errUnknown, m.request)
}

// offered are the features of the device.
func (s *session) offered() uint64 { return s.controller.features | featTransport }

func (s *session) sendNumber(m *message, value uint64) error {
	return s.conn.send(m.request, binary.LittleEndian.AppendUint64(nil, value), -1)
}

func (s *session) setFeatures(m *message) error {
	features, err := m.number()
	if err != nil {
		return err
	}
	if extra := features &^ s.offered(); extra != 0 {
		return fmt.Errorf("features %#x were not offered", extra)
	}
	if features == s.features {
		return nil
	}
	resume := s.suspendAll()
	s.features = features
	if features&featProtocol == 0 {
		for _, q := range s.queues {
			if q != nil {
				q.enabled = true
			}
		}
	}
	resume()
	return nil
}

func (s *session) setProtocolFeatures(m *message) error {
	features, err := m.number()
	if err != nil {
		return err
	}
	if extra := features &^ protoOffered; extra != 0 {
		return fmt.Errorf("protocol features %#x were not offered", extra)
	}
	s.protocol = features
	return nil
}

// suspendAll suspends all queues and returns what starts them again.
func (s *session) suspendAll() (resume func()) {
	for _, q := range s.queues {
		if q != nil {
			q.suspend()
		}
	}
	return func() {
		for _, q := range s.queues {
			if q != nil {
				q.start()
			}
		}
	}
}

// getConfig answers with a part of the config space; what is beyond its end is zero.
func (s *session) getConfig(m *message) error {
	const head = 12 // offset, size, flags
	if err := m.want(head); err != nil {
		return err
	}
	offset, size := m.u32(0), m.u32(4)
	if int(size) > len(m.payload)-head {
		return fmt.Errorf("a message of %d bytes asks for %d bytes of config space", len(m.payload), size)
	}
	payload := append([]byte(nil), m.payload[:head+int(size)]...)
	clear(payload[head:])
	if config := s.controller.config(); offset < configBytes {
		copy(payload[head:], config[offset:])
	}
	return s.conn.send(m.request, payload, -1)
}

// getInflight makes memory for requests in flight.
func (s *session) getInflight(m *message) error {
	spec, err := m.inflight()
	if err != nil {
		return err
	}
	fd, err := newInflight(&spec)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	payload := append([]byte(nil), m.payload...) // as long as the front end has it
	binary.LittleEndian.PutUint64(payload, spec.size)
	binary.LittleEndian.PutUint64(payload[8:], spec.offset)
	return s.conn.send(m.request, payload, fd)
}

func (s *session) setInflight(m *message) error {
	spec, err := m.inflight()
	if err != nil {
		return err
	}
	for _, q := range s.queues {
		if q != nil && (q.quit != nil || q.flying.Load() > 0) {
			return fmt.Errorf("inflight memory comes while queue %d is running", q.index)
		}
	}
	fd, err := m.takeFD()
	if err != nil {
		return err
	}
	opened, err := openInflight(fd, spec)
	if err != nil {
		return err
	}
	before := s.inflight
	s.inflight = opened
	for _, q := range s.queues {
		if q != nil {
			q.fresh = true
		}
	}
	if before != nil {
		return before.unmap()
	}
	return nil
}

func (s *session) setBackendReqFD(m *message) error {
	fd, err := m.takeFD()
	if err != nil {
		return err
	}
	n, err := newNotifier(fd)
	if err != nil {
		return err
	}
	s.mu.Lock()
	before := s.notifier
	s.notifier = n
	s.mu.Unlock()
	before.close()
	return nil
}

// configChanged tells the front end to read the config space again. Safe on any goroutine.
func (s *session) configChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notifier.notify()
}

// resetDevice brings the device back to where it was when the front end connected.
func (s *session) resetDevice() error {
	if err := s.drainAll(); err != nil {
		return err
	}
	for _, q := range s.queues {
		if q != nil {
			q.enabled, q.fresh, q.base = false, true, 0
		}
	}
	s.features = 0
	return nil
}
