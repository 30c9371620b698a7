// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"encoding/json"
	"fmt"
	"strings"
)

// fillWithForeign makes an object of every kind that somebody else may have in the same data plane.
func (r *rig) fillWithForeign() {
	r.t.Helper()
	const nqn = "nqn.2024-01.io.example:theirs"
	file := r.file("theirs.img", 2048)
	r.hand.do(
		"nvmf_create_transport", `{"trtype":"TCP","max_queue_depth":64,"in_capsule_data_size":4096,"max_io_size":65536}`,
		"bdev_null_create", `{"name":"theirs-null","block_size":512,"num_blocks":4096,"uuid":"20000000-0000-4000-8000-000000000001"}`,
		"bdev_malloc_create", `{"name":"theirs-malloc","block_size":4096,"num_blocks":64,"uuid":"20000000-0000-4000-8000-000000000002"}`,
		"bdev_malloc_create", `{"name":"theirs-base","block_size":512,"num_blocks":64,"uuid":"20000000-0000-4000-8000-000000000003"}`,
		"bdev_null_create", `{"name":"theirs-slow","block_size":512,"num_blocks":4096,"uuid":"20000000-0000-4000-8000-000000000004"}`,
		"bdev_set_qos_limit", `{"name":"theirs-slow","r_mbytes_per_sec":7}`,
		"bdev_aio_create", fmt.Sprintf(`{"name":"theirs-aio","filename":%q,"block_size":512,"uuid":"20000000-0000-4000-8000-000000000005"}`, file),
		"accel_crypto_key_create", `{"name":"theirs-key","cipher":"AES_XTS","key":"00112233445566778899aabbccddeeff","key2":"ffeeddccbbaa99887766554433221100"}`,
		"bdev_crypto_create", `{"name":"theirs-crypto","base_bdev_name":"theirs-base","key_name":"theirs-key"}`,
		"bdev_nvme_attach_controller", r.path("theirs-node", 3, 2, `,"hostnqn":"nqn.2024-01.io.example:theirs","ctrlr_loss_timeout_sec":-1,"reconnect_delay_sec":1`),
		"nvmf_create_subsystem", fmt.Sprintf(`{"nqn":%q,"serial_number":"THEIRS","max_namespaces":3}`, nqn),
		"nvmf_subsystem_add_host", fmt.Sprintf(`{"nqn":%q,"host":"nqn.2024-01.io.example:theirs-host"}`, nqn),
		"nvmf_subsystem_add_ns", fmt.Sprintf(`{"nqn":%q,"namespace":{"nsid":2,"bdev_name":"theirs-malloc"}}`, nqn),
		"nvmf_subsystem_add_listener", listener(nqn, r.near[1]),
		"nvmf_discovery_add_referral", `{"address":{"trtype":"TCP","adrfam":"IPv4","traddr":"127.0.0.9","trsvcid":"4420"}}`,
		"vhost_create_blk_controller", `{"ctrlr":"theirs-blk","dev_name":"theirs-slow","readonly":true}`,
		"vhost_create_scsi_controller", `{"ctrlr":"theirs-scsi"}`,
		"vhost_scsi_controller_add_target", `{"ctrlr":"theirs-scsi","scsi_target_num":6,"bdev_name":"theirs-slow"}`,
		"keyring_file_add_key", fmt.Sprintf(`{"name":"theirs-psk","path":%q}`, r.file("theirs.psk", 1)),
	)
}

// foreignObjects returns the data plane's own words about everything that is theirs.
func (r *rig) foreignObjects() map[string]string {
	r.t.Helper()
	found := map[string]string{}
	for _, method := range []string{
		"bdev_get_bdevs", "nvmf_get_subsystems", "bdev_nvme_get_controllers", "accel_crypto_keys_get", "keyring_get_keys",
		"vhost_get_controllers", "nvmf_get_transports", "nvmf_discovery_get_referrals",
	} {
		answer, err := r.hand.ask(method, "")
		r.must(err)
		var all []json.RawMessage
		r.must(json.Unmarshal(answer, &all))
		for _, raw := range all {
			var o struct{ Name, NQN, Ctrlr, Trtype string }
			r.must(json.Unmarshal(raw, &o))
			name := o.Name + o.NQN + o.Ctrlr + o.Trtype
			if strings.Contains(name, "theirs") || method == "nvmf_get_transports" || method == "nvmf_discovery_get_referrals" {
				found[method+" "+name] = string(raw)
			}
		}
	}
	const kinds = 15
	if len(found) != kinds {
		r.t.Fatalf("there are %d foreign objects, not %d: %v", len(found), kinds, found)
	}
	return found
}

// untouched checks that the data plane says of everything that is theirs what it said before.
func (r *rig) untouched(after string, before map[string]string) {
	r.t.Helper()
	now := r.foreignObjects()
	for what, was := range before {
		if now[what] != was {
			r.t.Errorf("after %s: %s of somebody else is\n%s\nand was\n%s", after, what, now[what], was)
		}
	}
}
