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
	// mutation and replay say at how many points of one the fault happens in a run that is not full.
	mutation, replay int
}

func killBridge() fault {
	return fault{name: "bridge killed", fatal: true, mutation: every, replay: 40, do: func(r *rig) {
		r.bridge.Kill()
		r.dpProxy.cut()
		r.stProxy.cut()
	}}
}

func cutDataPlane() fault {
	return fault{name: "data plane cut off", mutation: 10, replay: 10, do: func(r *rig) { r.dpProxy.cut() }}
}

func restartDataPlane() fault {
	return fault{name: "data plane restarted", mutation: 10, replay: 10, do: func(r *rig) {
		r.dataPlane.Kill()
		r.dpProxy.cut()
		r.dataPlane.Start()
	}}
}

func cutStore() fault {
	return fault{name: "store cut off", mutation: 10, replay: 10, do: func(r *rig) { r.stProxy.cut() }}
}

func restartStore() fault {
	return fault{name: "store restarted", mutation: 10, replay: 10, do: func(r *rig) {
		r.redis.Kill()
		r.stProxy.cut()
		r.redis.Start()
	}}
}

// faultsOnRedis are those that can happen to a bridge whose store is Redis.
func faultsOnRedis() []fault {
	return []fault{killBridge(), cutDataPlane(), restartDataPlane(), cutStore(), restartStore()}
}

// faultsOnFile are those that can happen to a bridge whose store is a file. To the store all kinds are
// the same, so fewer points do than on Redis.
func faultsOnFile() []fault {
	all := []fault{killBridge(), cutDataPlane(), restartDataPlane(), brokenDisk(), fullDisk()}
	for i := range all {
		all[i].mutation, all[i].replay = 5, 8
	}
	return all
}

// callTime bounds a call during which something breaks.
const callTime = 30 * time.Second
