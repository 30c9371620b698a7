// SPDX-License-Identifier: Apache-2.0

package target

import (
	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// prepareCopy prepares Copy (nvm 3.2.2) of one source range: a read into a buffer, which advance turns
// into a write.
func (q *queue) prepareCopy(r *request, a *attachment) nvme.Status {
	e := r.sqe()
	if e.CopyFormat() != 0 || e.CDW(12)>>12&0xF != 0 || e.CDW(12)>>26&0xF != 0 {
		return nvme.StatusInvalidField | nvme.DNR // other formats and protection information are not offered
	}
	if e.CopyRanges() > 1 {
		return nvme.StatusCommandSizeExceeded | nvme.DNR
	}
	if r.buf == nil {
		return nvme.StatusSGLDataLengthInvalid | nvme.DNR
	}
	from, err := nvme.DecodeCopy(r.buf.b, 0)
	if err != nil {
		return nvme.StatusSGLDataLengthInvalid | nvme.DNR
	}
	count := uint64(from.Blocks)
	size := count * a.ns.block
	blocks := a.ns.cfg.Device.Geometry().Blocks
	switch {
	case size > uint64(q.opts.MaxIOSizeBytes):
		return nvme.StatusCommandSizeExceeded | nvme.DNR
	case from.SLBA >= blocks || count > blocks-from.SLBA || e.SLBA() >= blocks || count > blocks-e.SLBA():
		return nvme.StatusLBAOutOfRange | nvme.DNR
	}
	q.target.buffers.put(r.buf)
	r.buf = q.target.buffers.get(uint32(size)) //nolint:gosec // at most MaxIOSizeBytes
	r.io.Op, r.io.Block, r.io.Count, r.io.Data = bdev.OpRead, from.SLBA, count, r.buf.b
	r.step = 2
	return nvme.Success
}
