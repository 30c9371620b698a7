// SPDX-License-Identifier: Apache-2.0

// Package nvme holds the formats of NVMe, NVMe over Fabrics and NVMe/TCP: queue entries, capsules,
// PDUs, identify data, log pages, status codes. It does no I/O and keeps no state; the target and
// the host stand on it.
//
// What travels with every command (queue entries, PDU headers) is a named view over bytes, so that
// nothing is copied; what travels seldom (identify data, log pages) is a struct with Encode and a
// Decode function that checks the length first. A view is only as long as the slice below it:
// make one of the size constant beside the type. Views and structs are plain values; concurrent
// reading is safe, writing is not.
//
// All integers on the wire are little-endian. Sections in the comments are those of the NVM Express
// Base Specification 2.0 ("base"), the NVM Command Set Specification 1.0 ("nvm") and the NVMe/TCP
// Transport Specification 1.0 ("tcp").
package nvme
