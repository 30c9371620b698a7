// SPDX-License-Identifier: Apache-2.0

// Package target is an NVMe/TCP target: subsystems with namespaces on block devices, listeners,
// access control by host NQN, controllers and queues, and the discovery subsystem. It behaves as
// SPDK's target does, as far as a host on the wire can tell.
//
// A [Target] is bookkeeping (this layer has no RPC; the data plane maps SPDK's methods to its calls)
// plus connections. A connection is one queue and has one goroutine that reads large pieces, parses
// all commands in them, and writes all answers with one system call; a second goroutine answers what
// devices finish later. See queue.go for the life of a command.
//
// Trust: whatever a peer sends is checked before it is used, and sizes are bounded before memory is
// taken. A malformed PDU ends its connection with a terminate request and a logged reason.
//
// Lock order: queue.mu, then Target.mu, then controller.mu or namespace.mu. A queue's own lock is held
// all the time except while it waits for its peer or for devices, so nobody takes it while holding
// another one: what concerns a queue from outside is pushed to its list of finished requests.
package target
