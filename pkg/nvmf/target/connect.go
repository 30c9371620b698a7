// SPDX-License-Identifier: Apache-2.0

package target

import (
	"time"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// refusal is why a Connect fails: the status, and where the bad field is.
type refusal struct {
	status nvme.Status
	value  uint32
	reason string
}

func badCommand(offset uint16, reason string) *refusal {
	return &refusal{nvme.StatusConnectInvalidParam | nvme.DNR, nvme.ConnectInvalid(false, offset), reason}
}

func badData(offset uint16, reason string) *refusal {
	return &refusal{nvme.StatusConnectInvalidParam | nvme.DNR, nvme.ConnectInvalid(true, offset), reason}
}

// connect carries out Connect (base 6.3): it makes a controller, or adds this queue to one.
func (q *queue) connect(e nvme.SQE, data []byte) {
	c, no := q.admit(e, data)
	if no != nil {
		q.target.log.Warn("connect refused", "peer", q.peer.String(), "qid", e.QID(), "reason", no.reason)
		q.answer(e.CID(), no.status, no.value)
		return
	}
	n := &q.target.counters
	n.currentUnknown.Add(-1)
	if q.qid == 0 {
		n.admin.Add(1)
		n.currentAdmin.Add(1)
	} else {
		n.io.Add(1)
		n.currentIO.Add(1)
	}
	q.wait(time.Time{})
	q.omitsSuccess = c.noFlowControl && !q.opts.NoC2HSuccess
	sqhd := q.sqhd
	if c.noFlowControl {
		q.sqhd = 0xFFFF
	}
	q.answer(e.CID(), nvme.Success, uint32(c.cntlid))
	q.sqhd = sqhd
}

// admit checks a Connect and makes the queue part of a controller, or says why not.
func (q *queue) admit(e nvme.SQE, data []byte) (*controller, *refusal) {
	if q.controller != nil {
		return nil, &refusal{nvme.StatusCommandSequence | nvme.DNR, 0, "connected already"}
	}
	d, err := nvme.DecodeConnectData(data)
	if err != nil {
		return nil, &refusal{nvme.StatusInvalidField | nvme.DNR, 0, err.Error()}
	}
	t := q.target
	t.fence(&d)
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.subsystems[d.SUBNQN]
	if s == nil || s.deleting || t.closed {
		return nil, badData(nvme.ConnectDataSUBNQNOffset, "unknown subsystem "+d.SUBNQN)
	}
	// A host without a name is let in where every host is, as SPDK does: spdk_nvme_perf has none.
	if len(d.HOSTNQN) > nvme.NQNMax {
		return nil, badData(nvme.ConnectDataHOSTNQNOffset, "the host's name is too long")
	}
	if no := q.checkKey(&d); no != nil {
		return nil, no
	}
	l := s.listener(q.portal.key)
	if !s.allows(d.HOSTNQN) || (l == nil && !s.discovery) {
		return nil, &refusal{nvme.StatusConnectInvalidHost | nvme.DNR, 0, "subsystem " + d.SUBNQN + " does not allow host " + d.HOSTNQN + " at this address"}
	}
	if no := q.checkCommand(e); no != nil {
		return nil, no
	}
	q.qid, q.sqsize = e.QID(), e.SQSIZE()
	q.sqhd = 1
	var c *controller
	var no *refusal
	if q.qid == 0 {
		c, no = q.createController(s, l, e, &d)
	} else {
		c, no = q.findController(s, l, &d)
	}
	if no != nil {
		q.qid = 0
		return nil, no
	}
	q.controller = c
	delete(t.unassociated, q)
	return c, nil
}

func (q *queue) checkCommand(e nvme.SQE) *refusal {
	depth := q.opts.MaxQueueDepth
	if e.QID() == 0 {
		depth = q.opts.MaxAQDepth
	}
	switch {
	case e.RECFMT() != 0:
		return &refusal{nvme.StatusConnectIncompatible | nvme.DNR, 0, "unknown record format"}
	case e.SQSIZE() == 0 || e.SQSIZE() >= depth:
		return badCommand(nvme.ConnectSQSIZEOffset, "queue size out of range")
	default:
		return nil
	}
}

// createController makes the controller of an admin queue. t.mu is held.
func (q *queue) createController(s *subsystem, l *listener, e nvme.SQE, d *nvme.ConnectData) (*controller, *refusal) {
	if d.CNTLID != nvme.CNTLIDDynamic {
		return nil, badData(nvme.ConnectDataCNTLIDOffset, "controllers are chosen by the target")
	}
	if d.HOSTID == [16]byte{} {
		return nil, badData(nvme.ConnectDataHOSTIDOffset, "the host identifier is all zero")
	}
	id, ok := s.allocate()
	if !ok {
		return nil, &refusal{nvme.StatusInternalError, 0, "all controller identifiers are in use"}
	}
	c := &controller{
		target: q.target, subsystem: s, listener: l, opts: q.opts, cntlid: id,
		hostNQN: d.HOSTNQN, hostID: uuid.UUID(d.HOSTID),
		noFlowControl: e.CATTR()&nvme.CATTRNoSQFlowControl != 0,
		queues:        map[uint16]*queue{},
		writeCache:    s.writeCache,
	}
	c.features.setDefaults(c)
	c.mu.Lock()
	c.events.config = nvme.AsyncEventNamespace
	if s.anaReporting {
		c.events.config |= nvme.AsyncEventANA
	}
	kato := e.KATO()
	if s.discovery {
		c.events.config = 0
		if kato > 0 {
			c.events.config = nvme.AsyncEventDiscoveryLog
		} else {
			kato = discoveryKATOMillis
		}
	}
	c.setKATO(kato)
	c.mu.Unlock()
	c.join(q, 0)
	s.controllers[id] = c
	q.target.log.Info("controller connected", "subsystem", s.cfg.NQN, "cntlid", id, "host", d.HOSTNQN, "peer", q.peer.String())
	return c, nil
}

// discoveryKATOMillis is how long a discovery controller without keep alive may be silent.
const discoveryKATOMillis = 120_000

// allocate returns the next controller identifier that is free. t.mu is held.
func (s *subsystem) allocate() (uint16, bool) {
	for range int(s.cfg.MaxCNTLID) - int(s.cfg.MinCNTLID) + 1 {
		id := s.nextCNTLID
		if id == s.cfg.MaxCNTLID {
			s.nextCNTLID = s.cfg.MinCNTLID
		} else {
			s.nextCNTLID++
		}
		if s.controllers[id] == nil {
			return id, true
		}
	}
	return 0, false
}

// findController finds the controller of an I/O queue. t.mu is held.
func (q *queue) findController(s *subsystem, l *listener, d *nvme.ConnectData) (*controller, *refusal) {
	c := s.controllers[d.CNTLID]
	switch {
	case c == nil:
		return nil, badData(nvme.ConnectDataCNTLIDOffset, "unknown controller")
	case c.hostNQN != d.HOSTNQN:
		return nil, badData(nvme.ConnectDataHOSTNQNOffset, "the controller belongs to another host")
	case c.hostID != uuid.UUID(d.HOSTID):
		return nil, badData(nvme.ConnectDataHOSTIDOffset, "the controller belongs to another host")
	case q.qid > q.opts.MaxIOQpairsPerController:
		return nil, &refusal{nvme.StatusInvalidQueueID | nvme.DNR, 0, "queue identifier out of range"}
	case s.discovery:
		return nil, badCommand(nvme.ConnectQIDOffset, "discovery controllers have no I/O queues")
	case s.anaReporting && c.listener != l:
		return nil, badCommand(nvme.ConnectQIDOffset, "the controller was connected through another listener")
	case nvme.CC(c.cc.Load()).IOSQES() != 6 || nvme.CC(c.cc.Load()).IOCQES() != 4:
		return nil, badCommand(nvme.ConnectQIDOffset, "the controller was not enabled with entries of 64 and 16 bytes")
	case !c.join(q, q.qid):
		return nil, badCommand(nvme.ConnectQIDOffset, "the controller is not enabled, is going, or has that queue")
	default:
		return c, nil
	}
}
