// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"encoding/json"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// reportANA puts a subsystem into the place of one of the bridge's that tells hosts through which listeners
// they may reach its namespaces, and is the same in everything else.
func (r *rig) reportANA() {
	r.t.Helper()
	testkit.Eventually(r.t, "somebody is quicker than the bridge", func() error {
		raw, err := r.hand.ask("nvmf_get_subsystems", q(`{"nqn":%q}`, webNQN))
		if err != nil {
			return err
		}
		var found []struct {
			Serial        string `json:"serial_number"`
			Model         string `json:"model_number"`
			MaxNamespaces int    `json:"max_namespaces"`
			MinCntlid     int    `json:"min_cntlid"`
			MaxCntlid     int    `json:"max_cntlid"`
		}
		r.must(json.Unmarshal(raw, &found))
		if _, err := r.hand.ask("nvmf_delete_subsystem", q(`{"nqn":%q}`, webNQN)); err != nil {
			return err
		}
		s := found[0]
		_, err = r.hand.ask("nvmf_create_subsystem", q(
			`{"nqn":%q,"serial_number":%q,"model_number":%q,"max_namespaces":%d,"min_cntlid":%d,"max_cntlid":%d,"ana_reporting":true}`,
			webNQN, s.Serial, s.Model, s.MaxNamespaces, s.MinCntlid, s.MaxCntlid))
		return err
	})
}

// accessible checks that nobody can take a disk from a host by ANA states as long as the subsystem is the
// bridge's: to change them is refused, and a listener that somebody has put back as an inaccessible one
// leads to the disk as before.
func (r *rig) accessible() {
	r.t.Helper()
	state := strings.TrimSuffix(listener(openNQN, r.near[1]), "}") + `,"ana_state":"inaccessible"}`
	if _, err := r.hand.ask("nvmf_subsystem_listener_set_ana_state", state); err == nil || !strings.Contains(err.Error(), "error setting ANA state: -22") {
		r.t.Errorf("a subsystem of the bridge's takes ANA states: %v", err)
	}
	testkit.Eventually(r.t, "somebody is quicker than the bridge", func() error {
		if _, err := r.hand.ask("nvmf_subsystem_remove_listener", listener(openNQN, r.near[1])); err != nil {
			return err
		}
		_, err := r.hand.ask("nvmf_subsystem_add_listener", state)
		return err
	})
	r.verifiedIO(openNQN, r.near[1])()
}
