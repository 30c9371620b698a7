// SPDX-License-Identifier: Apache-2.0

// Package machine starts virtual machines for tests: QEMU without KVM, a stock Debian kernel that is
// unpacked and not installed, and the init program of tests/host/guest in an initramfs made here.
//
// What it needs from Debian is brought by `make test-needs`: QEMU, and the packages of kernel and
// busybox in .cache/guest of the module. Without them a test fails and says so.
package machine
