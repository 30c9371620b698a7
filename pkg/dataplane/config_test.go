// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestSavedConfigurationCanBeLoaded: what framework_get_config says brings a second data plane to the
// same state. (Not for bdevs with metadata: there SPDK writes the block size that it would not read.)
func TestSavedConfigurationCanBeLoaded(t *testing.T) {
	_, storagePath := serve(t)
	storage, port := dial(t, storagePath), freePort(t)
	storage.must("bdev_malloc_create", `{"name":"v","block_size":512,"num_blocks":64,"uuid":"33333333-3333-4333-8333-333333333333"}`)
	const remote = `"nqn":"nqn.2019-06.io.storage:vol1"`
	storage.must("nvmf_create_transport", `{"trtype":"TCP","max_io_size":65536}`)
	storage.must("nvmf_create_subsystem", "{"+remote+`,"allow_any_host":true}`)
	storage.must("nvmf_subsystem_add_ns", "{"+remote+`,"namespace":{"bdev_name":"v"}}`)
	storage.must("nvmf_subsystem_add_listener", fmt.Sprintf(`{%s,"listen_address":{"trtype":"TCP","traddr":"127.0.0.1","trsvcid":%q}}`, remote, port))

	_, firstPath := serve(t)
	first := dial(t, firstPath)
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	const nqn = `"nqn":"nqn.2016-06.io.spdk:cnode1"`
	for _, call := range [][2]string{
		{"bdev_nvme_set_options", `{"bdev_retry_count":5,"io_path_stat":true,"multipath_opts":{"policy":"active_active","selector":"round_robin","min_io":4}}`},
		{"bdev_malloc_create", `{"name":"m","block_size":512,"num_blocks":8,"physical_block_size":4096,"optimal_io_boundary":8}`},
		{"bdev_null_create", `{"name":"n","block_size":4096,"num_blocks":256}`},
		{"bdev_null_resize", `{"name":"n","new_size":2}`},
		{"bdev_aio_create", fmt.Sprintf(`{"name":"a","filename":%q,"block_size":512,"readonly":true}`, file)},
		{"bdev_nvme_attach_controller", fmt.Sprintf(`{"name":"r","trtype":"tcp","adrfam":"ipv4","traddr":"127.0.0.1","trsvcid":%q,`+
			`"subnqn":"nqn.2019-06.io.storage:vol1","hostnqn":"nqn.2016-06.io.spdk:host1","ctrlr_loss_timeout_sec":-1,"reconnect_delay_sec":2,"hdgst":true}`, port)},
		{"nvmf_create_transport", `{"trtype":"TCP","in_capsule_data_size":8192,"c2h_success":false}`},
		{"nvmf_discovery_add_referral", `{"address":{"trtype":"TCP","traddr":"192.0.2.9","trsvcid":"8009"}}`},
		{"nvmf_create_subsystem", "{" + nqn + `,"serial_number":"","admin_label":"a label","ana_reporting":true,"max_namespaces":4,"min_cntlid":5}`},
		{"nvmf_subsystem_add_ns", "{" + nqn + `,"namespace":{"bdev_name":"m","nsid":3,"eui64":"0123456789ABCDEF","anagrpid":2}}`},
		{"nvmf_subsystem_add_ns", "{" + nqn + `,"namespace":{"bdev_name":"rn1"}}`},
		{"nvmf_subsystem_add_host", "{" + nqn + `,"host":"nqn.2016-06.io.spdk:host1"}`},
		{"keyring_file_add_key", fmt.Sprintf(`{"name":":k","path":%q}`, file)},
		{"accel_crypto_key_create", `{"name":"dek","cipher":"AES_XTS",` + halves + `}`},
		{"bdev_malloc_create", `{"name":"b","block_size":512,"num_blocks":8,"uuid":"44444444-4444-4444-8444-444444444444"}`},
		{"bdev_crypto_create", `{"name":"c","base_bdev_name":"b","key_name":"dek"}`},
		{"bdev_set_qos_limit", `{"name":"c","rw_ios_per_sec":1500,"w_mbytes_per_sec":3}`},
		{"bdev_set_qos_limit", `{"name":"n","r_mbytes_per_sec":1}`},
		{"vhost_create_blk_controller", `{"ctrlr":"blk","dev_name":"c","readonly":true,"packed_ring":false,"cpumask":"0x3"}`},
		{"vhost_controller_set_coalescing", `{"ctrlr":"blk","delay_base_us":5,"iops_threshold":1000}`},
		{"vhost_create_scsi_controller", `{"ctrlr":"scsi"}`},
		{"vhost_scsi_controller_add_target", `{"ctrlr":"scsi","scsi_target_num":3,"bdev_name":"n"}`},
	} {
		first.must(call[0], call[1])
	}

	_, secondPath := serve(t)
	second := dial(t, secondPath)
	for _, name := range []string{subsystemKeyring, subsystemAccel, subsystemBdev, subsystemNvmf, subsystemVhostBlk, subsystemVhostSCSI} {
		subsystem := fmt.Sprintf(`{"name":%q}`, name)
		want := first.must("framework_get_config", subsystem)
		var entries []struct {
			Method string          `json:"method"`
			Params json.RawMessage `json:"params"`
		}
		if err := json.Unmarshal(want, &entries); err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if entry.Method == "nvmf_set_max_subsystems" {
				continue // before the framework is initialized only
			}
			second.must(entry.Method, string(entry.Params))
		}
		if got := second.must("framework_get_config", subsystem); string(got) != string(want) {
			t.Errorf("configuration of %s after loading:\n%s\nwant\n%s", subsystem, got, want)
		}
	}
}
