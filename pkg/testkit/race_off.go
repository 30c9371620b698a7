// SPDX-License-Identifier: Apache-2.0

//go:build !race

package testkit

// raceEnabled says that the tests run under the race detector, so programs are built with it too.
const raceEnabled = false
