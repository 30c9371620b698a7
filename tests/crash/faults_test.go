// SPDX-License-Identifier: Apache-2.0

package crash_test

import "time"

// fault is what happens while the world stands still at a message.
type fault struct {
	name string
	do   func(r *rig)
	// heal ends it after the request has been answered; nil when it ends by itself.
	heal func(r *rig)
	// fatal says that the bridge is dead after do, and is to be started again.
	fatal bool
	// every says that the default run, too, has it at every point of a replay.
	every bool
}

func killBridge() fault {
	return fault{name: "bridge killed", fatal: true, every: true, do: func(r *rig) {
		r.bridge.Kill()
		r.dpProxy.cut()
		r.stProxy.cut()
	}}
}

func cutDataPlane() fault {
	return fault{name: "data plane cut off", do: func(r *rig) { r.dpProxy.cut() }}
}

func restartDataPlane() fault {
	return fault{name: "data plane restarted", do: func(r *rig) {
		r.dataPlane.Kill()
		r.dpProxy.cut()
		r.dataPlane.Start()
	}}
}

func cutStore() fault {
	return fault{name: "store cut off", do: func(r *rig) { r.stProxy.cut() }}
}

func restartStore() fault {
	return fault{name: "store restarted", do: func(r *rig) {
		r.redis.Kill()
		r.stProxy.cut()
		r.redis.Start()
	}}
}

func faults() []fault {
	return []fault{killBridge(), cutDataPlane(), restartDataPlane(), cutStore(), restartStore()}
}

// callTime bounds a call during which something breaks.
const callTime = 30 * time.Second
