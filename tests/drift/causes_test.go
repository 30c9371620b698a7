// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// cause is something that keeps some resources from being there after the data plane was restarted.
type cause struct {
	name string
	// flags are those of the data plane while it lasts.
	flags []string
	// begin makes it, while the data plane is away; end takes it away. Nil where the flags are the cause:
	// then the data plane is started without them.
	begin func(*rig) (end func())
	// broken tells for each resource that is not there words of the error it shows: those that stand on
	// others name them.
	broken map[string]string
	// deleted is a broken resource that can be deleted and made again, and body what it is made of.
	deleted, body string
	// quiet is a broken resource that is watched being tried again.
	quiet string
}

const virtioBlk = `{"pcie_id":{"port_id":0,"physical_function":0,"virtual_function":1},"volume_name_ref":"nullVolumes/nul-2"}`

// causes lists them.
func causes(r *rig) []cause {
	ns := func(n int) string { return fmt.Sprintf("%s/nvmeNamespaces/disk-%d", web, n) }
	path1, path2 := nodes+"node-1/nvmePaths/path-1", nodes+"node-2/nvmePaths/path-0"
	remote := func(words string) map[string]string { return map[string]string{path2: words, ns(5): "node-2n1"} }
	far := func(calls ...string) func(*rig) func() {
		return func(r *rig) func() {
			r.far.do(calls[:2]...)
			return func() { r.far.do(calls[2:]...) }
		}
	}
	file := func(name string, during, usual int64) func(*rig) func() {
		return func(r *rig) func() {
			r.must(os.Truncate(filepath.Join(r.dir, name), during*512))
			return func() { r.must(os.Truncate(filepath.Join(r.dir, name), usual*512)) }
		}
	}
	nqn2 := func(more string) string { return fmt.Sprintf(`{"nqn":%q%s}`, storage(2), more) }
	without := func(modules string) []string { return []string{"--without-module", modules} }
	return []cause{
		{
			name: "an unreachable target", broken: remote("cannot be reached"), quiet: path2,
			deleted: ns(5), body: disk(nodes + "node-2/nvmeRemoteNamespaces/node-2n1"),
			begin: far("nvmf_subsystem_remove_listener", listener(storage(2), r.ports[0]), "nvmf_subsystem_add_listener", listener(storage(2), r.ports[0])),
		},
		{
			name: "a target that refuses the host", broken: remote("does not let us in"),
			begin: func(r *rig) func() {
				s, err := r.status()
				r.must(err)
				r.far.do("nvmf_subsystem_allow_any_host", nqn2(`,"allow_any_host":false`))
				return func() { r.far.do("nvmf_subsystem_add_host", nqn2(fmt.Sprintf(`,"host":%q`, s.GetHostNqn()))) }
			},
		},
		{
			name: "a target whose namespace has vanished", broken: map[string]string{ns(5): "node-2n1"},
			begin: far("nvmf_subsystem_remove_ns", nqn2(`,"nsid":1`), "nvmf_subsystem_add_ns", nqn2(`,"namespace":{"nsid":1,"bdev_name":"s2"}`)),
		},
		{
			name: "one path of two", broken: map[string]string{path1: "cannot be reached"}, deleted: path1, body: r.nvmePath(1, 1),
			begin: far("nvmf_subsystem_remove_listener", listener(storage(1), r.ports[1]), "nvmf_subsystem_add_listener", listener(storage(1), r.ports[1])),
		},
		{
			name: "a remote volume that is smaller", broken: map[string]string{ns(5): "hosts were shown 8192 blocks"},
			begin: func(r *rig) func() {
				r.far.do("bdev_malloc_delete", named("s2"))
				r.exportNamespace(2, storageBlocks/2)
				return func() { r.far.do("bdev_malloc_delete", named("s2")); r.exportNamespace(2, storageBlocks) }
			},
		},
		{
			name: "a file that is smaller", broken: map[string]string{"aioVolumes/aio-1": "has 2048 blocks", ns(3): "aioVolumes/aio-1"},
			begin: file("aio.img", 2048, 4096),
		},
		{
			name: "a file of no recorded size that is smaller", broken: map[string]string{ns(6): "hosts were shown 2048 blocks"},
			begin: file("free.img", 1024, 2048),
		},
		{
			name: "a file that is missing", broken: map[string]string{"aioVolumes/aio-1": "cannot be opened", ns(3): "aioVolumes/aio-1"},
			deleted: ns(3), body: disk("aioVolumes/aio-1"),
			begin: func(r *rig) func() {
				name := filepath.Join(r.dir, "aio.img")
				r.must(os.Rename(name, name+".away"))
				return func() { r.must(os.Rename(name+".away", name)) }
			},
		},
		{
			name: "a port that another process has", broken: map[string]string{web + "/nvmeControllers/ctrl-1": "port free"},
			deleted: web + "/nvmeControllers/ctrl-1", body: endpoint(r.near[0]),
			begin: func(r *rig) func() {
				l, err := (&net.ListenConfig{}).Listen(r.t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", r.near[0]))
				r.must(err)
				return func() { _ = l.Close() }
			},
		},
		{
			name: "no directory for vhost", broken: map[string]string{
				"virtioBlks/blk-1": "no socket", "virtioScsiControllers/scsi-1": "no socket",
			},
			begin: func(r *rig) func() {
				r.must(os.Rename(r.vhosts, r.vhosts+".away"))
				return func() { r.must(os.Rename(r.vhosts+".away", r.vhosts)) }
			},
		},
		{
			name: "no directory for keys", broken: map[string]string{nodes + "node-3": "cannot be written"},
			begin: func(r *rig) func() {
				keys := filepath.Join(r.dir, "keys")
				r.must(os.Rename(keys, keys+".away"))
				r.must(os.WriteFile(keys, nil, 0o600))
				return func() { r.must(errors.Join(os.Remove(keys), os.Rename(keys+".away", keys))) }
			},
		},
		{
			name: "a build without vhost", flags: without("vhost"), deleted: "virtioBlks/blk-1", body: virtioBlk,
			broken: map[string]string{
				"virtioBlks/blk-1": "no method vhost_create_blk_controller", "virtioScsiControllers/scsi-1": "no method",
				"virtioScsiLuns/lun-1": "virtioScsiControllers/scsi-1",
			},
		},
		{
			name: "a build without crypto", flags: without("crypto"), deleted: ns(4), body: disk("encryptedVolumes/enc-1"),
			broken: map[string]string{"encryptedVolumes/enc-1": "no crypto engine", ns(4): "encryptedVolumes/enc-1"},
		},
		{
			name: "a build without aio and keyring", flags: without("aio,keyring"),
			broken: map[string]string{
				"aioVolumes/aio-1": "no method bdev_aio_create", ns(3): "aioVolumes/aio-1", "aioVolumes/free-1": "no method", ns(6): "aioVolumes/free-1",
				nodes + "node-3": "no method keyring_file_add_key",
			},
		},
		{
			name: "a build without the initiator", flags: without("nvme"),
			broken: map[string]string{
				path2: "no method bdev_nvme_attach_controller", path1: "no method", nodes + "node-1/nvmePaths/path-0": "no method",
				ns(5): "node-2n1", open + "/nvmeNamespaces/disk-1": "node-1n1",
			},
		},
		{
			name: "a transport that is refused", flags: without("tcp"),
			broken: map[string]string{web + "/nvmeControllers/ctrl-1": "built without it", open + "/nvmeControllers/ctrl-1": "built without it"},
		},
	}
}
