// SPDX-License-Identifier: Apache-2.0

// Package api serves the OPI storage services on an engine. There is one handler per verb (Create,
// Update, Delete, Get, List, Stats, Reset) for all resources: which services and methods there are,
// what their requests and answers hold, and which kind a method is about, is read from the protobuf
// descriptors. Methods of kinds that the engine does not have answer UNIMPLEMENTED.
//
// What is decided here is what a request looks like (AIP-131 to AIP-135, AIP-158, AIP-161): which
// fields must be there, page sizes and tokens, update masks, and that nothing a request carries is
// silently dropped. What a request means is the engine's business.
package api
