// SPDX-License-Identifier: Apache-2.0

//go:build race

package spdk_test

const raceEnabled = true
