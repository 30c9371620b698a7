// SPDX-License-Identifier: Apache-2.0

// Init is the first and only program of the virtual machines that play hosts and storage nodes in
// tests. It is of no use anywhere else.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/opi-bridge/opi-bridge/tests/host/guest"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: this runs as the first process of a virtual machine only")
		return
	}
	if err := guest.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
	}
	// When the first process ends, so does the machine, with a kernel panic.
	fmt.Fprintln(os.Stderr, "init:", guest.PowerOff())
}
