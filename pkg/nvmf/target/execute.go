// SPDX-License-Identifier: Apache-2.0

package target

import "github.com/opi-bridge/opi-bridge/pkg/nvme"

// execute carries out a command whose data, if it brought any, is valid until execute returns. Errors
// end the connection; what is wrong with the command itself is answered.
func (q *queue) execute(e nvme.SQE, data []byte) error {
	switch {
	case e.OPC() == nvme.Fabrics:
		q.fabrics(e, data)
		return nil
	case q.controller == nil:
		q.answer(e.CID(), nvme.StatusCommandSequence|nvme.DNR, 0)
		return nil
	case q.qid == 0:
		return q.admin(e, data)
	case !q.controller.enabled():
		q.answer(e.CID(), nvme.StatusCommandSequence, 0)
		return nil
	default:
		return q.io(e, data)
	}
}

// executeRequest carries out a command whose data has come in after an R2T.
func (q *queue) executeRequest(r *request) error {
	e := r.sqe()
	if q.qid == 0 || e.OPC() == nvme.Fabrics {
		err := q.execute(e, r.buf.b)
		q.recycle(r)
		return err
	}
	if !q.controller.enabled() {
		r.status = nvme.StatusCommandSequence
		q.finish(r)
		return nil
	}
	q.ioWithData(r)
	return nil
}

// fabrics carries out a fabrics command (base 6).
func (q *queue) fabrics(e nvme.SQE, data []byte) {
	switch {
	case e.FCTYPE() == nvme.FabricsConnect:
		q.connect(e, data)
	case q.controller == nil:
		q.answer(e.CID(), nvme.StatusCommandSequence|nvme.DNR, 0)
	case e.FCTYPE() == nvme.FabricsPropertyGet && q.qid == 0:
		q.propertyGet(e)
	case e.FCTYPE() == nvme.FabricsPropertySet && q.qid == 0:
		q.propertySet(e)
	default: // authentication and disconnect are not offered
		q.answer(e.CID(), nvme.StatusInvalidOpcode|nvme.DNR, 0)
	}
}
