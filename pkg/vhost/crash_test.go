// SPDX-License-Identifier: Apache-2.0

package vhost_test

// backendEnv tells a process of the test binary to be a back end.
const backendEnv = "OPI_VHOST_TEST_BACKEND"

func runBackend(string) error { return nil }
