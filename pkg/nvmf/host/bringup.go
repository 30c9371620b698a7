// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// setUp connects the queues and learns what the controller can do.
func (a *association) setUp(ctx context.Context) error {
	var err error
	if a.admin, err = a.open(ctx, 0, adminDepth); err != nil {
		return fmt.Errorf("admin queue: %w", err)
	}
	if err := a.enable(ctx); err != nil {
		return err
	}
	if err := a.identify(ctx); err != nil {
		return err
	}
	if a.ident.OAES&(nvme.OAESNamespace|nvme.OAESANAChange) != 0 {
		want := a.ident.OAES & (nvme.OAESNamespace | nvme.OAESANAChange)
		if _, err := a.do(ctx, nil, func(e nvme.SQE) { e.SetFeature(nvme.FeatureAsyncEvents, want) }); err != nil {
			return fmt.Errorf("ask for events: %w", err)
		}
	}
	a.expectEvent()
	return a.openIO(ctx)
}

// open connects one queue.
func (a *association) open(ctx context.Context, qid uint16, depth int) (*queue, error) {
	conn, err := a.set.trid.dial(ctx, a.set.hostaddr, a.set.hostsvcid, a.set.dialTimeout)
	if err != nil {
		return nil, err
	}
	if err := boundAcks(conn, a.set.ackTimeout); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	log := a.set.log.With("qid", qid)
	q, err := newQueue(log, conn, a.fail)
	if err == nil {
		err = q.handshake(ctx, a.set.psk, a.set.hdgst, a.set.ddgst, a.set.connectTimeout)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	q.inCapsule = fabricsData
	a.mu.Lock()
	a.all = append(a.all, q)
	a.mu.Unlock()
	q.start(depth - 1) // a queue of n entries is full with n-1
	data := make([]byte, nvme.ConnectDataSize)
	connect := nvme.ConnectData{HOSTID: a.set.hostid, CNTLID: nvme.CNTLIDDynamic, SUBNQN: a.set.trid.Subnqn, HOSTNQN: a.set.hostnqn}
	var kato uint32
	var attributes uint8
	if a.set.noFlowControl {
		attributes = nvme.CATTRNoSQFlowControl
	}
	if qid == 0 {
		kato = uint32(min(a.set.keepAlive.Milliseconds(), 1<<31)) //nolint:gosec // bounded and not negative
	} else {
		connect.CNTLID = a.cntlid
	}
	connect.Encode(data)
	value, err := q.do(ctx, a.set.connectTimeout, data, true, func(e nvme.SQE) {
		e.SetConnect(qid, uint16(depth-1), attributes, kato) //nolint:gosec // a small constant
	})
	if err != nil {
		return nil, fmt.Errorf("fabrics connect: %w", err)
	}
	if a.over.Load() { // it ended before this queue was in the list
		q.fail(errClosed)
	}
	if qid == 0 {
		a.cntlid = uint16(value) //nolint:gosec // the low half is the field
	}
	return q, nil
}

// do carries out an admin command that reads data, if there is any.
func (a *association) do(ctx context.Context, data []byte, build func(nvme.SQE)) (uint64, error) {
	return a.admin.do(ctx, a.set.commandTimeout, data, false, build)
}

// enable switches the controller on and waits until it is ready.
func (a *association) enable(ctx context.Context) error {
	value, err := a.do(ctx, nil, func(e nvme.SQE) { e.SetPropertyGet(nvme.PropertyCAP) })
	if err != nil {
		return fmt.Errorf("read CAP: %w", err)
	}
	a.cap = nvme.CAP(value)
	if value, err = a.do(ctx, nil, func(e nvme.SQE) { e.SetPropertyGet(nvme.PropertyVS) }); err != nil {
		return fmt.Errorf("read VS: %w", err)
	}
	a.vs = uint32(value) //nolint:gosec // the property has 32 bits
	set := func(e nvme.SQE) { e.SetPropertySet(nvme.PropertyCC, uint64(nvme.MakeCC())) }
	if _, err = a.do(ctx, nil, set); err != nil {
		return fmt.Errorf("enable the controller: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, max(time.Duration(a.cap.TO())*500*time.Millisecond, a.set.commandTimeout))
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		if value, err = a.do(ctx, nil, func(e nvme.SQE) { e.SetPropertyGet(nvme.PropertyCSTS) }); err != nil {
			return fmt.Errorf("read CSTS: %w", err)
		}
		switch csts := uint32(value); { //nolint:gosec // the property has 32 bits
		case csts&nvme.CSTSCFS != 0:
			return errors.New("the controller reports a fatal status")
		case csts&nvme.CSTSRDY != 0:
			return nil
		}
		if err := sleep(ctx, wait); err != nil {
			return fmt.Errorf("wait for the controller to become ready: %w", err)
		}
	}
}

// identify reads what the controller is and can do.
func (a *association) identify(ctx context.Context) error {
	data := make([]byte, nvme.IdentifySize)
	if err := a.identifyData(ctx, data, nvme.CNSController, 0, 0); err != nil {
		return fmt.Errorf("identify controller: %w", err)
	}
	var err error
	if a.ident, err = nvme.DecodeIdentifyController(data); err != nil {
		return fmt.Errorf("identify controller: %w", err)
	}
	a.limits = limits{transferBytes: transferMax, zeroBytes: 1 << 62, unmapBlocks: 1<<32 - 1}
	if a.ident.MDTS > 0 && a.ident.MDTS < 8 {
		a.limits.transferBytes = 4096 << a.ident.MDTS
	}
	// The limits of the NVM command set are optional; a controller without them refuses the command.
	if err := a.identifyData(ctx, data, nvme.CNSControllerCSI, 0, nvme.CSINVM); err != nil {
		if _, ok := errors.AsType[nvme.Status](err); ok {
			return nil
		}
		return fmt.Errorf("identify controller, command set: %w", err)
	}
	nvm, err := nvme.DecodeIdentifyControllerNVM(data)
	if err != nil {
		return fmt.Errorf("identify controller, command set: %w", err)
	}
	if nvm.WZSL > 0 && nvm.WZSL < 48 {
		a.limits.zeroBytes = 4096 << nvm.WZSL
	}
	if nvm.DMRSL > 0 {
		a.limits.unmapBlocks = nvm.DMRSL
	}
	return nil
}

// identifyData carries out Identify.
func (a *association) identifyData(ctx context.Context, data []byte, cns uint8, nsid uint32, csi uint8) error {
	clear(data)
	_, err := a.do(ctx, data, func(e nvme.SQE) {
		e.SetOPC(nvme.AdminIdentify)
		e.SetNSID(nsid)
		e.SetCDW(10, uint32(cns))
		e.SetCDW(11, uint32(csi)<<24)
	})
	return err
}

// openIO settles the number of I/O queues and connects them.
func (a *association) openIO(ctx context.Context) error {
	want := uint16(min(max(a.set.queues, 1), 65535))
	value, err := a.do(ctx, nil, func(e nvme.SQE) {
		e.SetFeature(nvme.FeatureNumberOfQueues, nvme.NumberOfQueues(want, want))
	})
	if err != nil {
		return fmt.Errorf("ask for %d I/O queues: %w", want, err)
	}
	sq, cq := nvme.SplitNumberOfQueues(uint32(value)) //nolint:gosec // dword 0
	count := min(uint32(want), sq, cq)
	depth := min(ioDepth, int(a.cap.MQES())+1)
	if depth < 2 {
		return fmt.Errorf("the controller has queues of %d entries, at least 2 are needed", depth)
	}
	inCapsule := uint64(a.ident.IOCCSZ)*16 - nvme.SQESize
	if a.ident.IOCCSZ < 4 || a.ident.ICDOFF != 0 {
		inCapsule = 0
	}
	for qid := range count {
		q, err := a.open(ctx, uint16(qid+1), depth)
		if err != nil {
			return fmt.Errorf("I/O queue %d: %w", qid+1, err)
		}
		q.mu.Lock()
		q.inCapsule = uint32(min(inCapsule, transferMax))
		q.mu.Unlock()
		a.io = append(a.io, q)
	}
	return nil
}
