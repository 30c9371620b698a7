// SPDX-License-Identifier: Apache-2.0

// Package proto holds the messages of our own API, each package beside its generated code.
package proto

//go:generate go run ./generate opi_bridge/v1/bridge.proto
