// SPDX-License-Identifier: Apache-2.0

// Package dataplane serves SPDK's JSON-RPC methods over our own block devices, NVMe/TCP target and
// NVMe/TCP host: the embedded data plane, for machines without SPDK.
//
// It is there so that the control plane can be developed, demonstrated and tested against something
// that behaves as SPDK v26.09 does: the same methods, parameters, results, error codes and texts, the
// same order of answers, and the same traps. What is right is decided by recorded exchanges with a
// real SPDK (tests/spdk). What it does not have, a method or a parameter, it refuses.
//
// A method is declared in the file of its family: a name, a struct whose tags are the parameters, the
// answer to parameters that cannot be read, and a function. All methods run one after the other on
// the turn of the JSON-RPC server, so they see and change the world alone; what SPDK does
// asynchronously is left for a later turn ([turns]).
package dataplane
