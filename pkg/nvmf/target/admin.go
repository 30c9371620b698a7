// SPDX-License-Identifier: Apache-2.0

package target

import "github.com/opi-bridge/opi-bridge/pkg/nvme"

// abortLimit is ACL: what SPDK says.
const abortLimit = 3

// admin carries out an admin command (base 5).
func (q *queue) admin(e nvme.SQE, data []byte) error {
	c := q.controller
	status := c.checkAdmin(e)
	if status != nvme.Success {
		q.answer(e.CID(), status, 0)
		return nil
	}
	if c.subsystem.discovery {
		c.touch()
	}
	switch e.OPC() {
	case nvme.AdminIdentify:
		return q.answerPage(e, c.identify)
	case nvme.AdminGetLogPage:
		return q.answerPage(e, c.logPage)
	case nvme.AdminKeepAlive:
		c.touch()
		q.answer(e.CID(), nvme.Success, 0)
	case nvme.AdminSetFeatures:
		status, dw0 := c.setFeature(e, data)
		q.answer(e.CID(), status, dw0)
	case nvme.AdminGetFeatures:
		return q.getFeature(e)
	case nvme.AdminAsyncEventReq:
		return q.asyncEventRequest(e)
	case nvme.AdminAbort:
		q.abort(e)
	default:
		q.answer(e.CID(), nvme.StatusInvalidOpcode|nvme.DNR, 0)
	}
	return nil
}

// checkAdmin refuses what no admin command may have.
func (c *controller) checkAdmin(e nvme.SQE) nvme.Status {
	switch {
	case e.FUSE() != 0:
		return nvme.StatusInvalidField | nvme.DNR
	case !c.enabled():
		return nvme.StatusCommandSequence
	}
	switch e.OPC() {
	case nvme.AdminAbort, nvme.AdminAsyncEventReq, nvme.AdminKeepAlive:
		if e.NSID() != 0 {
			return nvme.StatusInvalidField | nvme.DNR
		}
		if e.OPC() == nvme.AdminAbort && c.subsystem.discovery {
			return nvme.StatusInvalidOpcode | nvme.DNR
		}
	case nvme.AdminCreateIOSQ, nvme.AdminDeleteIOSQ, nvme.AdminCreateIOCQ, nvme.AdminDeleteIOCQ:
		return nvme.StatusInvalidOpcode | nvme.DNR // fabrics have Connect instead
	}
	return nvme.Success
}

// answerPage answers a command that returns data. make fills in a page of the length that the host
// gives room for, which is all zero.
func (q *queue) answerPage(e nvme.SQE, fill func(e nvme.SQE, page []byte) nvme.Status) error {
	n, err := q.transferLength(e)
	if err != nil {
		return err
	}
	if n == 0 {
		q.answer(e.CID(), nvme.StatusInvalidField|nvme.DNR, 0)
		return nil
	}
	page := make([]byte, n)
	if status := fill(e, page); status != nvme.Success {
		q.answer(e.CID(), status, 0)
		return nil
	}
	q.answerData(e.CID(), page)
	return nil
}

// asyncEventRequest carries out Asynchronous Event Request (base 5.2).
func (q *queue) asyncEventRequest(e nvme.SQE) error {
	r, err := q.take(e)
	if err != nil {
		return err
	}
	status, now := q.controller.await(r)
	if now {
		q.answer(e.CID(), status, r.dw0)
		q.recycle(r)
	}
	return nil
}

// abort carries out Abort (base 5.1). Only commands that wait for an event can be aborted: all others
// are with the device or on the wire already, and end by themselves. Bit 0 of the answer says so.
func (q *queue) abort(e nvme.SQE) {
	sqid, cid := uint16(e.CDW(10)&0xFFFF), uint16(e.CDW(10)>>16)
	dw0 := uint32(1)
	if sqid == 0 && q.controller.abortWaiting(cid) {
		dw0 = 0
		q.collect()
	}
	q.answer(e.CID(), nvme.Success, dw0)
}
