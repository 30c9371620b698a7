// SPDX-License-Identifier: Apache-2.0

// Package resource is the vocabulary of desired state: what a resource is called ([Name]), what its
// kind declares ([Declaration], [Kind]), and what is kept of it ([Record]). It does no I/O and takes
// no locks.
//
// A kind is one [Declaration]: which message, which fields may change, what is valid, what it refers
// to, what it must have alone, and which objects should exist for it. The engine and the API know
// kinds only by what is declared here.
package resource
