// SPDX-License-Identifier: Apache-2.0

package target

import "github.com/opi-bridge/opi-bridge/pkg/nvme"

// readyTimeout is CAP.TO in units of 500 ms: what SPDK says.
const readyTimeout = 20

// property returns the value of the property at an offset, and its size in bytes; 0 for none.
func (c *controller) property(ofst uint32) (value uint64, size uint32) {
	switch ofst {
	case nvme.PropertyCAP:
		return uint64(nvme.MakeCAP(c.opts.MaxQueueDepth-1, readyTimeout, nvme.CAPCQR|nvme.CAPCSSNVM|nvme.CAPCRWMS)), 8
	case nvme.PropertyVS:
		return uint64(nvme.VS200), 4
	case nvme.PropertyCC:
		return uint64(c.cc.Load()), 4
	case nvme.PropertyCSTS:
		return uint64(c.csts.Load()), 4
	case nvme.PropertyNSSR, nvme.PropertyAQA:
		return 0, 4
	case nvme.PropertyASQ, nvme.PropertyACQ:
		return 0, 8
	case nvme.PropertyCRTO:
		return readyTimeout, 4
	default:
		return 0, 0
	}
}

// propertyGet carries out Property Get (base 6.5). Half of a property of 8 bytes may be asked for.
func (q *queue) propertyGet(e nvme.SQE) {
	ofst, want := e.OFST(), uint32(4)
	if e.ATTRIB() == 1 {
		want = 8
	}
	value, size := q.controller.property(ofst)
	if size == 0 && ofst >= 4 && want == 4 {
		if upper, wide := q.controller.property(ofst - 4); wide == 8 {
			value, size = upper>>32, 4
		}
	}
	if e.ATTRIB() > 1 || size < want {
		q.answer(e.CID(), nvme.StatusConnectInvalidParam|nvme.DNR, 0)
		return
	}
	if want == 4 {
		value &= 0xFFFFFFFF
	}
	q.answerValue(e.CID(), nvme.Success, value)
}

// propertySet carries out Property Set (base 6.6). Only CC does something; the addresses of queues,
// which fabrics do not have, are not offered.
func (q *queue) propertySet(e nvme.SQE) {
	status := nvme.StatusConnectInvalidParam | nvme.DNR
	if e.OFST() == nvme.PropertyCC && e.ATTRIB() == 0 && q.controller.setCC(nvme.CC(e.PropertyValue()&0xFFFFFFFF)) {
		status = nvme.Success
	}
	q.answer(e.CID(), status, 0)
}

// setCC enables, resets or shuts down (base 3.1.3.5). It says whether the value is acceptable.
func (c *controller) setCC(cc nvme.CC) bool {
	if cc.AMS() != 0 || cc.MPS() != 0 || (cc.CSS() != 0 && cc.CSS() != 6) || cc.SHN() == 3 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := nvme.CC(c.cc.Load())
	if c.leaving != notLeaving && !old.EN() && cc.EN() {
		return false // the reset is not over: CSTS says so
	}
	c.cc.Store(uint32(cc))
	csts := c.csts.Load()
	switch {
	case old.EN() && !cc.EN():
		c.depart(resetting)
	case cc.SHN() != nvme.SHNNone && old.SHN() == nvme.SHNNone:
		c.csts.Store(csts&^nvme.CSTSShutdownMask | nvme.CSTSShutdownBusy)
		if c.keepAlive != nil {
			c.keepAlive.Stop()
		}
		c.depart(shuttingDown)
	case !old.EN() && cc.EN():
		c.csts.Store(nvme.CSTSRDY)
	}
	return true
}

// depart disconnects the I/O queues; when they have gone CSTS says so. c.mu is held.
func (c *controller) depart(why leaving) {
	c.leaving = why
	for qid, q := range c.queues {
		if qid != 0 {
			q.fail("the controller is reset or shut down")
		}
	}
	if len(c.queues) <= 1 {
		c.left()
	}
}
