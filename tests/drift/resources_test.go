// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"fmt"
	"strings"
)

const (
	webNQN  = "nqn.2024-01.io.example:web"
	openNQN = "nqn.2024-01.io.example:open"
	// The names of what is made.
	web, open = "nvmeSubsystems/web-1", "nvmeSubsystems/open-1"
	nodes     = "nvmeRemoteControllers/"
)

// volumeUUID returns the uuid of a volume with that number.
func volumeUUID(n int) string { return fmt.Sprintf("10000000-0000-4000-8000-00000000000%d", n) }

// null and malloc return volumes with the uuid of that number.
func volume(n int) string {
	return fmt.Sprintf(`{"block_size":512,"blocks_count":4096,"uuid":%q}`, volumeUUID(n))
}

func disk(ref string) string { return fmt.Sprintf(`{"spec":{"volume_name_ref":%q}}`, ref) }

// nvmePath returns a path to subsystem n of the storage node; those to the second as the host that the
// bridge says it is.
func (r *rig) nvmePath(n, port int) string {
	as := dpuNQN
	if n == 2 {
		as = ""
	}
	return fmt.Sprintf(`{"trtype":"NVME_TRANSPORT_TYPE_TCP","traddr":"127.0.0.1","fabrics":{"trsvcid":"%d","subnqn":%q,"adrfam":"NVME_ADDRESS_FAMILY_IPV4","hostnqn":%q}}`,
		r.ports[port], storage(n), as)
}

func endpoint(port int) string {
	return fmt.Sprintf(`{"spec":{"trtype":"NVME_TRANSPORT_TYPE_TCP","fabrics_id":{"traddr":"127.0.0.1","trsvcid":"%d","adrfam":"NVME_ADDRESS_FAMILY_IPV4"}}}`, port)
}

// psk is a key in the interchange format, of no worth.
const psk = "TlZNZVRMU2tleS0xOjAxOkFBRUNBd1FGQmdjSUNRb0xEQTBPRHhBUkVoTVVGUllYR0JrYUd4d2RIaCtLZmlhUjo="

// build makes one of everything.
func (r *rig) build() {
	r.t.Helper()
	r.mustCreate("nullVolumes/nul-1", volume(1))
	r.mustCreate("nullVolumes/nul-2", volume(2))
	r.mustCreate("nullVolumes/nul-3", volume(3))
	r.mustCreate("mallocVolumes/mem-1", volume(4))
	r.mustCreate("mallocVolumes/mem-2", volume(5))
	r.mustCreate("aioVolumes/aio-1", fmt.Sprintf(`{"block_size":512,"blocks_count":4096,"filename":%q}`, r.file("aio.img", 4096)))
	r.mustCreate("encryptedVolumes/enc-1",
		`{"volume_name_ref":"mallocVolumes/mem-1","cipher":"ENCRYPTION_TYPE_AES_XTS_128","key":"YWFhYWFhYWFhYWFhYWFhYWJiYmJiYmJiYmJiYmJiYmI="}`)
	r.mustCreate("qosVolumes/qos-1", `{"volume_name_ref":"mallocVolumes/mem-2","limits":{"max":{"rw_iops_kiops":50}}}`)
	for n, paths := range map[int]int{1: 2, 2: 1} {
		node := fmt.Sprintf("%snode-%d", nodes, n)
		r.mustCreate(node, `{"multipath":"NVME_MULTIPATH_MULTIPATH"}`)
		for p := range paths {
			r.mustCreate(fmt.Sprintf("%s/nvmePaths/path-%d", node, p), r.nvmePath(n, p))
		}
	}
	r.mustCreate(nodes+"node-3", fmt.Sprintf(`{"multipath":"NVME_MULTIPATH_DISABLE","tcp":{"psk":%q}}`, psk))
	r.mustCreate(web, fmt.Sprintf(`{"spec":{"nqn":%q,"hostnqn":%q,"serial_number":"WEB"}}`, webNQN, hostNQN))
	r.mustCreate(web+"/nvmeControllers/ctrl-1", endpoint(r.near[0]))
	for i, ref := range []string{
		"nullVolumes/nul-1", "mallocVolumes/mem-2", "aioVolumes/aio-1", "encryptedVolumes/enc-1",
		nodes + "node-2/nvmeRemoteNamespaces/node-2n1",
	} {
		r.mustCreate(fmt.Sprintf("%s/nvmeNamespaces/disk-%d", web, i+1), disk(ref))
	}
	r.mustCreate(open, fmt.Sprintf(`{"spec":{"nqn":%q}}`, openNQN))
	r.mustCreate(open+"/nvmeControllers/ctrl-1", endpoint(r.near[1]))
	r.mustCreate(open+"/nvmeNamespaces/disk-1", disk(nodes+"node-1/nvmeRemoteNamespaces/node-1n1"))
	r.mustCreate("virtioBlks/blk-1", `{"pcie_id":{"port_id":0,"physical_function":0,"virtual_function":1},"volume_name_ref":"nullVolumes/nul-2"}`)
	r.mustCreate("virtioScsiControllers/scsi-1", `{"pcie_id":{"port_id":0,"physical_function":0,"virtual_function":2}}`)
	r.mustCreate("virtioScsiLuns/lun-1", `{"target_name_ref":"virtioScsiControllers/scsi-1","volume_name_ref":"nullVolumes/nul-3"}`)
}

// everything lists what build has made, in an order in which it can be deleted.
func everything() []string {
	return strings.Fields(`virtioScsiLuns/lun-1 virtioScsiControllers/scsi-1 virtioBlks/blk-1
		` + open + `/nvmeNamespaces/disk-1 ` + open + `/nvmeControllers/ctrl-1 ` + open + `
		` + web + `/nvmeNamespaces/disk-1 ` + web + `/nvmeNamespaces/disk-2 ` + web + `/nvmeNamespaces/disk-3
		` + web + `/nvmeNamespaces/disk-4 ` + web + `/nvmeNamespaces/disk-5 ` + web + `/nvmeControllers/ctrl-1 ` + web + `
		` + nodes + `node-3 ` + nodes + `node-2/nvmePaths/path-0 ` + nodes + `node-2
		` + nodes + `node-1/nvmePaths/path-1 ` + nodes + `node-1/nvmePaths/path-0 ` + nodes + `node-1
		qosVolumes/qos-1 encryptedVolumes/enc-1 aioVolumes/aio-1 mallocVolumes/mem-2 mallocVolumes/mem-1
		nullVolumes/nul-3 nullVolumes/nul-2 nullVolumes/nul-1`)
}
