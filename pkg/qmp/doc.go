// SPDX-License-Identifier: Apache-2.0

// Package qmp speaks the QEMU Machine Protocol (QEMU documentation, "QMP Protocol Specification"): a
// client that keeps one connection to a monitor, has commands in flight on it and hands events out.
// It knows no command but qmp_capabilities, which every conversation begins with.
//
// On the wire is one JSON object per line. QEMU greets; the client leaves negotiation mode; from then
// on every command carries an id, which its answer repeats, and events come in between.
package qmp
