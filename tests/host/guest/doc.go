// SPDX-License-Identifier: Apache-2.0

// Package guest is what runs inside the virtual machines that play hosts and storage nodes in tests:
// an init program that does what it is told over a serial port, and the words for telling it.
//
// A conversation is lines of JSON. The guest begins with a [Response] that has ID 0 when it is ready;
// after that each [Request] gets one Response with its ID, in order. Lines stay below [MaxLineBytes].
package guest
