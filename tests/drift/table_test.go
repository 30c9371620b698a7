// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"fmt"
	"os"
	"path/filepath"
)

// row is one change behind the bridge's back, and what must come of it.
type row struct {
	kind, change string
	// calls are made by somebody's hand, method and parameters in turn; more is for what is no call.
	calls []string
	more  func(*rig)
	// repaired lists the resources that are repaired.
	repaired []string
	// reported tells for each resource that cannot be, words of the error that it shows.
	reported map[string]string
	// foreign tells for each resource what it shows as somebody else's.
	foreign map[string]string
	// undo takes the change back where it is only reported or shown; the bridge puts back the rest.
	undo   []string
	unmore func(*rig)
}

func q(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// named returns the parameters {"name": name}.
func named(name string) string { return q(`{"name":%q}`, name) }

// table has a row for every kind of object that the bridge makes and each way it can be changed.
// docs/operations.md tells the same in words.
func (r *rig) table() []row {
	ns := func(n int) string { return q("%s/nvmeNamespaces/disk-%d", web, n) }
	inWeb := func(more string) string { return q(`{"nqn":%q,%s}`, webNQN, more) }
	newNull := func(name string, n int) string {
		return q(`{"name":%q,"block_size":512,"num_blocks":4096,"uuid":%q}`, name, volumeUUID(n))
	}
	aioKey := q("host %s nqn.2024-01.io.example:theirs", webNQN)
	return []row{
		{
			kind: "null bdev", change: "deleted", calls: []string{"bdev_null_delete", named("nul-1")},
			repaired: []string{"nullVolumes/nul-1", ns(1)},
		},
		{
			kind: "null bdev", change: "grown", calls: []string{"bdev_null_resize", `{"name":"nul-1","new_size":3}`},
			reported: map[string]string{"nullVolumes/nul-1": "can grow only"},
			undo:     []string{"bdev_null_delete", named("nul-1")},
		},
		{
			kind: "null bdev", change: "another of its name", calls: []string{"bdev_null_delete", named("nul-1"), "bdev_null_create", newNull("nul-1", 9)},
			reported: map[string]string{"nullVolumes/nul-1": "uuid differ", ns(1): "nullVolumes/nul-1 cannot be used"},
			undo:     []string{"bdev_null_delete", named("nul-1")},
		},
		{
			kind: "malloc bdev", change: "deleted", calls: []string{"bdev_malloc_delete", named("mem-2")},
			repaired: []string{"mallocVolumes/mem-2", "qosVolumes/qos-1", ns(2)},
		},
		{
			kind: "aio bdev", change: "deleted", calls: []string{"bdev_aio_delete", named("aio-1")},
			repaired: []string{"aioVolumes/aio-1", ns(3)},
		},
		{
			kind: "aio bdev", change: "grown with its file",
			more: func(r *rig) {
				r.must(os.Truncate(filepath.Join(r.dir, "aio.img"), 8192*512))
				r.hand.do("bdev_aio_rescan", named("aio-1"))
			},
			reported: map[string]string{"aioVolumes/aio-1": "8192 blocks"},
			unmore:   func(r *rig) { r.must(os.Truncate(filepath.Join(r.dir, "aio.img"), 4096*512)) },
			undo:     []string{"bdev_aio_delete", named("aio-1")},
		},
		{
			kind: "limits", change: "changed", calls: []string{"bdev_set_qos_limit", `{"name":"mem-2","rw_ios_per_sec":1000}`},
			repaired: []string{"qosVolumes/qos-1"},
		},
		{
			kind: "limits", change: "removed", calls: []string{"bdev_set_qos_limit", `{"name":"mem-2","rw_ios_per_sec":0}`},
			repaired: []string{"qosVolumes/qos-1"},
		},
		{
			kind: "limits", change: "set on a volume without any", calls: []string{"bdev_set_qos_limit", `{"name":"nul-1","rw_ios_per_sec":9000}`},
			foreign: map[string]string{"nullVolumes/nul-1": "limits nul-1"},
			undo:    []string{"bdev_set_qos_limit", `{"name":"nul-1","rw_ios_per_sec":0}`},
		},
		{
			kind: "crypto bdev", change: "deleted", calls: []string{"bdev_crypto_delete", named("enc-1")},
			repaired: []string{"encryptedVolumes/enc-1", ns(4)},
		},
		{
			kind: "crypto key", change: "destroyed with its bdev",
			calls:    []string{"bdev_crypto_delete", named("enc-1"), "accel_crypto_key_destroy", `{"key_name":"opi-bridge:enc-1"}`},
			repaired: []string{"encryptedVolumes/enc-1", ns(4)},
		},
		{
			kind: "malloc bdev", change: "deleted below a crypto bdev", calls: []string{"bdev_malloc_delete", named("mem-1")},
			repaired: []string{"mallocVolumes/mem-1", ns(4)}, // SPDK itself puts the crypto bdev back on its base
		},
		{
			kind: "path", change: "one of two detached", calls: []string{"bdev_nvme_detach_controller", r.path("node-1", 1, 1, "")},
			repaired: []string{nodes + "node-1/nvmePaths/path-1"},
		},
		{
			kind: "path", change: "the controller detached", calls: []string{"bdev_nvme_detach_controller", named("node-2")},
			repaired: []string{nodes + "node-2/nvmePaths/path-0", ns(5)},
		},
		{
			kind: "path", change: "attached as another host",
			calls: []string{
				"bdev_nvme_detach_controller", named("node-2"),
				"bdev_nvme_attach_controller", r.path("node-2", 2, 0, `,"hostnqn":"nqn.2024-01.io.example:theirs"`),
			},
			repaired: []string{nodes + "node-2/nvmePaths/path-0", ns(5)},
		},
		{
			kind: "path", change: "one more", calls: []string{"bdev_nvme_attach_controller", r.path("node-1", 1, 2, q(`,"hostnqn":%q,"multipath":"multipath"`, dpuNQN))},
			foreign: map[string]string{nodes + "node-1": q("path node-1 TCP IPv4 127.0.0.1 %d %s", r.ports[2], storage(1))},
			undo:    []string{"bdev_nvme_detach_controller", r.path("node-1", 1, 2, "")},
		},
		{
			kind: "subsystem", change: "deleted", calls: []string{"nvmf_delete_subsystem", q(`{"nqn":%q}`, webNQN)},
			repaired: []string{web, web + "/nvmeControllers/ctrl-1", ns(1), ns(2), ns(3), ns(4), ns(5)},
		},
		{
			kind: "subsystem", change: "another of its name",
			calls: []string{"nvmf_delete_subsystem", q(`{"nqn":%q}`, webNQN), "nvmf_create_subsystem", inWeb(`"serial_number":"THEIRS"`)},
			reported: map[string]string{
				web: "serial_number", web + "/nvmeControllers/ctrl-1": web + " cannot be used",
				ns(1): web + " cannot be used", ns(2): web + " cannot be used", ns(3): web + " cannot be used",
				ns(4): web + " cannot be used", ns(5): web + " cannot be used",
			},
			undo: []string{"nvmf_delete_subsystem", q(`{"nqn":%q}`, webNQN)},
		},
		{
			kind: "subsystem", change: "another, the same but for ANA reporting", more: (*rig).reportANA,
			reported: map[string]string{web: "ana_reporting"},
			undo:     []string{"nvmf_delete_subsystem", q(`{"nqn":%q}`, webNQN)},
		},
		{
			kind: "subsystem", change: "open to any host", calls: []string{"nvmf_subsystem_allow_any_host", inWeb(`"allow_any_host":true`)},
			repaired: []string{web},
		},
		{
			kind: "host", change: "removed", calls: []string{"nvmf_subsystem_remove_host", inWeb(q(`"host":%q`, hostNQN))},
			repaired: []string{web},
		},
		{
			kind: "host", change: "one more", calls: []string{"nvmf_subsystem_add_host", inWeb(`"host":"nqn.2024-01.io.example:theirs"`)},
			foreign: map[string]string{web: aioKey},
			undo:    []string{"nvmf_subsystem_remove_host", inWeb(`"host":"nqn.2024-01.io.example:theirs"`)},
		},
		{
			kind: "listener", change: "removed", calls: []string{"nvmf_subsystem_remove_listener", listener(webNQN, r.near[0])},
			repaired: []string{web + "/nvmeControllers/ctrl-1"},
		},
		{
			kind: "listener", change: "one more", calls: []string{"nvmf_subsystem_add_listener", listener(webNQN, r.near[2])},
			foreign: map[string]string{web: q("listener %s TCP IPv4 127.0.0.1 %d", webNQN, r.near[2])},
			undo:    []string{"nvmf_subsystem_remove_listener", listener(webNQN, r.near[2])},
		},
		{
			kind: "namespace", change: "removed", calls: []string{"nvmf_subsystem_remove_ns", inWeb(`"nsid":2`)},
			repaired: []string{ns(2)},
		},
		{
			kind: "namespace", change: "of another bdev",
			calls: []string{
				"nvmf_subsystem_remove_ns", inWeb(`"nsid":2`),
				"nvmf_subsystem_add_ns", inWeb(`"namespace":{"nsid":2,"bdev_name":"theirs-null"}`),
			},
			repaired: []string{ns(2)},
		},
		{
			kind: "namespace", change: "under another nsid",
			calls: []string{
				"nvmf_subsystem_remove_ns", inWeb(`"nsid":2`),
				"nvmf_subsystem_add_ns", inWeb(`"namespace":{"nsid":9,"bdev_name":"mem-2"}`),
			},
			reported: map[string]string{ns(2): "bdev mem-2 is namespace 9"},
			foreign:  map[string]string{web: "namespace " + webNQN + " 9", "mallocVolumes/mem-2": "namespace " + webNQN + " 9"},
			undo:     []string{"nvmf_subsystem_remove_ns", inWeb(`"nsid":9`)},
		},
		{
			kind: "virtio-blk", change: "deleted", calls: []string{"vhost_delete_controller", `{"ctrlr":"blk-1"}`},
			repaired: []string{"virtioBlks/blk-1"},
		},
		{
			kind: "virtio-blk", change: "of another bdev",
			calls:    []string{"vhost_delete_controller", `{"ctrlr":"blk-1"}`, "vhost_create_blk_controller", `{"ctrlr":"blk-1","dev_name":"theirs-null"}`},
			repaired: []string{"virtioBlks/blk-1"},
		},
		{
			kind: "virtio-scsi", change: "deleted", calls: []string{"vhost_delete_controller", `{"ctrlr":"scsi-1"}`},
			repaired: []string{"virtioScsiControllers/scsi-1", "virtioScsiLuns/lun-1"},
		},
		{
			kind: "virtio-scsi LUN", change: "removed", calls: []string{"vhost_scsi_controller_remove_target", `{"ctrlr":"scsi-1","scsi_target_num":0}`},
			repaired: []string{"virtioScsiLuns/lun-1"},
		},
		{
			kind: "virtio-scsi LUN", change: "of another bdev",
			calls: []string{
				"vhost_scsi_controller_remove_target", `{"ctrlr":"scsi-1","scsi_target_num":0}`,
				"vhost_scsi_controller_add_target", `{"ctrlr":"scsi-1","scsi_target_num":0,"bdev_name":"theirs-null"}`,
			},
			repaired: []string{"virtioScsiLuns/lun-1"},
		},
		{
			kind: "virtio-scsi LUN", change: "one more", calls: []string{"vhost_scsi_controller_add_target", `{"ctrlr":"scsi-1","scsi_target_num":5,"bdev_name":"theirs-null"}`},
			foreign: map[string]string{"virtioScsiControllers/scsi-1": "virtio_scsi_target scsi-1 5"},
			undo:    []string{"vhost_scsi_controller_remove_target", `{"ctrlr":"scsi-1","scsi_target_num":5}`},
		},
		{
			kind: "TLS key", change: "removed", calls: []string{"keyring_file_remove_key", named("opi-bridge%3Apath%3Anode-3")},
			repaired: []string{nodes + "node-3"},
		},
		{
			kind: "TLS key", change: "its file removed", more: func(r *rig) {
				files, err := filepath.Glob(filepath.Join(r.dir, "keys", "*"))
				r.must(err)
				for _, f := range files {
					if info, err := os.Stat(f); err == nil && info.Size() > 0 {
						r.must(os.Remove(f))
					}
				}
			},
			repaired: []string{nodes + "node-3"},
		},
	}
}
