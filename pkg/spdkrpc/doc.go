// SPDX-License-Identifier: Apache-2.0

// Package spdkrpc has SPDK's JSON-RPC methods as typed calls, one file for each family. Parameter
// structs carry SPDK's own names and nothing SPDK would refuse; result structs take what is needed
// and let the rest pass, because results grow with every release.
//
// Refusals come as [*Error] with SPDK's code and text, which differ from release to release: see
// what is there before deciding what a refusal means. What differs between releases in the calls
// themselves is in [Features].
package spdkrpc
