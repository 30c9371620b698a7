// SPDX-License-Identifier: Apache-2.0

// Package vhost gives virtual machines disks: the back end of vhost-user-blk, the protocol by which
// QEMU and Cloud Hypervisor let another process serve a virtio block device out of the guest's own
// memory.
//
// A [Server] holds controllers. A [Controller] is a socket and an open bdev; each front end that
// connects is a session with queues of its own. The session's goroutine reads the front end's
// messages; each running queue has a worker, which alone touches the rings and the guest's memory,
// and a small goroutine that waits for kicks. Devices end requests on goroutines of theirs: those
// only put the request on the worker's list and wake it.
//
// Nobody who can write to the socket or to the guest's memory is trusted. Lengths, indices and
// addresses are checked before use and read once; memory that vanishes under its mapping (SIGBUS) is
// a panic on the worker which becomes an error. What is wrong ends the session that it came through,
// with a reason in the log, and nothing else. A device gets a slice of guest memory only if it copies
// within Submit ([bdev.Memory]) or if the memory cannot vanish (a memfd sealed against shrinking);
// otherwise it gets a buffer of ours.
//
// Requests in flight are marked in memory shared with the front end, so that after a crash of this
// process the next one runs exactly those that had not been answered, in their old order. A session
// starts no queue before the requests of sessions that ended earlier are done, so an old write never
// lands after a newer one.
//
// Sources: the vhost-user protocol and its inflight format (QEMU, docs/interop/vhost-user.rst), and
// Virtual I/O Device version 1.2, sections 2.7 (split virtqueues) and 5.2 (block device). Rings are
// split ones, little-endian; packed rings are not offered, so front ends use split ones.
package vhost
