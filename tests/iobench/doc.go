// SPDX-License-Identifier: Apache-2.0

// Package iobench measures the I/O of opi-dataplane beside that of others in the same run: vhost-user-blk
// beside qemu-storage-daemon, NVMe/TCP beside the kernel's target within the same guest, and beside a
// real SPDK where OPI_SPDK_TGT names one. All of it is a benchmark: `make bench-io` runs it and prints
// Markdown tables, and nothing is asserted.
package iobench
