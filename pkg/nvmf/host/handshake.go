// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/tlspsk"
)

// handshake begins TLS if there is a key, and exchanges ICReq and ICResp, which settle the framing of the
// connection. Nobody else uses the connection yet; ctx ends the wait.
func (q *queue) handshake(ctx context.Context, psk *tlspsk.PSK, headerDigest, dataDigest bool, timeout time.Duration) error {
	if err := q.socket.SetDeadline(time.Now().Add(timeout)); err != nil {
		return fmt.Errorf("set a deadline: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = q.socket.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	if err := q.secure(psk); err != nil {
		return err
	}
	req := nvme.ICReq{}
	if headerDigest {
		req.DGST |= nvme.DGSTHeader
	}
	if dataDigest {
		req.DGST |= nvme.DGSTData
	}
	var b [nvme.PDUHeaderMax]byte
	req.Encode(b[:])
	if _, err := q.conn.Write(b[:]); err != nil {
		return fmt.Errorf("send ICReq: %w", err)
	}
	if _, err := io.ReadFull(q.conn, b[:nvme.CHSize]); err != nil {
		return fmt.Errorf("wait for ICResp: %w", err)
	}
	fr, err := nvme.Framing{}.Check(nvme.CH(b[:]), false)
	if err != nil {
		return err //nolint:wrapcheck // a *nvme.PDUError says it all
	}
	if fr.Type != nvme.PDUICResp {
		return sequenceError("PDU of type %#02x instead of ICResp", uint8(fr.Type))
	}
	if _, err := io.ReadFull(q.conn, b[nvme.CHSize:]); err != nil {
		return fmt.Errorf("receive ICResp: %w", err)
	}
	resp, err := nvme.DecodeICResp(b[:])
	if err != nil {
		return fmt.Errorf("ICResp: %w", err)
	}
	if err := resp.Validate(); err != nil {
		return err //nolint:wrapcheck // as above
	}
	if extra := resp.DGST &^ req.DGST; extra != 0 {
		return &nvme.PDUError{FES: nvme.FESInvalidHeaderField, FEI: 11, Reason: "ICResp turns on digests that were not asked for"}
	}
	framing := nvme.Framing{HeaderDigest: resp.DGST&nvme.DGSTHeader != 0, DataDigest: resp.DGST&nvme.DGSTData != 0}
	q.rx, q.tx = framing, framing
	q.tx.DataAlignment = resp.CPDA
	q.maxH2C = resp.MAXH2CDATA
	if !stop() {
		return fmt.Errorf("connect: %w", context.Cause(ctx))
	}
	if err := q.socket.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear the deadline: %w", err)
	}
	return nil
}

// do carries out one command and waits for its answer. A status other than success is an error (a
// nvme.Status). data is read into, or written from if write is set.
func (q *queue) do(ctx context.Context, timeout time.Duration, data []byte, write bool, build func(nvme.SQE)) (uint64, error) {
	done := make(chan struct{})
	c := &call{data: data, write: write, done: func(*call) { close(done) }}
	build(nvme.SQE(c.sqe[:]))
	opcode := c.sqe[0]
	if err := q.await(ctx, timeout, c, done); err != nil {
		return 0, fmt.Errorf("command %#02x: %w", opcode, err)
	}
	switch {
	case c.err != nil:
		return 0, fmt.Errorf("command %#02x: %w", opcode, c.err)
	case !c.status.OK():
		return 0, fmt.Errorf("command %#02x: %w", opcode, c.status)
	}
	return c.value, nil
}

// await begins a call and waits until it is done. When it takes too long, the connection is ended: the
// data may still be written to, and only that ends the command.
func (q *queue) await(ctx context.Context, timeout time.Duration, c *call, done <-chan struct{}) error {
	q.begin(c)
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	var cause error
	select {
	case <-done:
		return nil
	case <-timer.C:
		cause = errTimeout
	case <-ctx.Done():
		cause = context.Cause(ctx)
	}
	q.fail(fmt.Errorf("command %#02x: %w", c.sqe[0], cause))
	<-done
	return cause
}
