// SPDX-License-Identifier: Apache-2.0

//go:build rdma

package host_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	"github.com/opi-bridge/opi-bridge/tests/host/guest"
	"github.com/opi-bridge/opi-bridge/tests/host/machine"
)

// No package of Debian has an SPDK with RDMA: these files are compiled with the tag rdma only, by `make
// test-rdma`.
var rdmaSPDK = flag.String("rdma.spdk", "", "path of SPDK's spdk_tgt, built with RDMA")

// What is in a guest: where SPDK's JSON-RPC socket is, as which port it is reached, and the provider that
// lets programs use soft-RoCE.
const (
	spdkSocket   = "/tmp/spdk.sock"
	spdkPort     = 5260
	rdmaProvider = "/usr/lib/x86_64-linux-gnu/libibverbs/librxe-rdmav34.so"
	rdmaKernel   = ".cache/guest-rdma"
	rdmaCard     = "eth1"
	tcpCard      = "eth2"
	frontAddress = "10.0.2.15" // QEMU's, on eth0
)

// startSPDK begins SPDK, and calls what it says a file. It has large pages, because an RDMA card is told of
// each page of its memory at the start, and here the card is software, on an emulated processor.
const startSPDK = `mkdir -p /dev/shm /mnt/huge /var/run /var/tmp
mountpoint -q /mnt/huge || { echo 560 >/proc/sys/vm/nr_hugepages; mount -t hugetlbfs none /mnt/huge; mount -t tmpfs none /dev/shm; }
OPENSSL_CONF=/dev/null setsid spdk_tgt -s 1024 -m 0x1 --iova-mode va --no-pci -r ` + spdkSocket + ` >>/tmp/spdk.log 2>&1 </dev/null &
echo $! >/tmp/spdk.pid
`

// rdmaNode is a node whose data plane is SPDK in a machine of its own, with a network card that does RDMA
// in software, and one that carries TCP.
type rdmaNode struct {
	*node
	machine    *machine.Machine
	rdma, wire string // addresses of the two
}

// wires returns QEMU's arguments for two wires between two machines, one end of each.
func wires(dir string, number int) []string {
	var args []string
	for i, name := range []string{"rdma", "wire"} {
		args = append(args,
			"-netdev", fmt.Sprintf("stream,id=%s,server=%s,addr.type=unix,addr.path=%s", name, []string{"on", "off"}[number], filepath.Join(dir, name)),
			"-device", fmt.Sprintf("virtio-net-pci,netdev=%s,romfile=,mac=52:54:00:12:%02d:%02d", name, 10+i, 1+number))
	}
	return args
}

// newRDMANodes starts a storage node and a DPU.
func newRDMANodes(t *testing.T) (storage, dpu *rdmaNode) {
	t.Helper()
	if *rdmaSPDK == "" {
		t.Fatal("say where it is: make test-rdma SPDK=/path/of/spdk_tgt, built with RDMA")
	}
	files := machine.Programs(t, []string{*rdmaSPDK, "/usr/bin/rdma"}, rdmaProvider)
	files[strings.TrimPrefix(rdmaProvider, "/")] = rdmaProvider
	files["etc/libibverbs.d/rxe.driver"] = "/etc/libibverbs.d/rxe.driver"
	modules := []string{"crc32_generic", "crc32_pclmul", "rdma_rxe", "ib_uverbs", "rdma_ucm", "nvme_tcp", "nvme_rdma", "nvmet_rdma", "nvmet_tcp"}
	dir := testkit.SocketDir(t)
	var configs []machine.Config
	var ports []int
	for number := range 2 {
		ports = append(ports, testkit.FreePort(t))
		configs = append(configs, machine.Config{
			Modules: append([]string{"brd"}, modules...), Kernel: rdmaKernel, MemoryMiB: 2048, Files: files,
			Forwards: []machine.Forward{{Here: ports[number], Guest: spdkPort}}, Devices: wires(dir, number),
		})
	}
	var nodes []*rdmaNode
	for number, m := range machine.Start(t, configs...) {
		n := &rdmaNode{machine: m, rdma: fmt.Sprintf("192.168.77.%d", 1+number), wire: fmt.Sprintf("192.168.78.%d", 1+number)}
		m.LoadModules(modules...)
		m.LoadModules("brd rd_nr=2 rd_size=16384")
		m.Shell("ip link set lo up; for i in 1 2; do ip link set eth$i up; done; " +
			"ip addr add " + n.rdma + "/24 dev eth1; ip addr add " + n.wire + "/24 dev eth2; " +
			"rdma link add rxe0 type rxe netdev eth1")
		m.Relay(guest.Relay{Port: spdkPort, Socket: spdkSocket})
		m.Shell(startSPDK)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("what SPDK said on %s:\n%s", n.rdma, m.Shell("grep -v domain.types /tmp/spdk.log | tail -n 40"))
			}
		})
		n.node = newNodeAt(t, "tcp://127.0.0.1:"+strconv.Itoa(ports[number]))
		nodes = append(nodes, n)
	}
	return nodes[0], nodes[1]
}

// at returns the node's address on a card.
func (n *rdmaNode) at(card string) string {
	if card == rdmaCard {
		return n.rdma
	}
	return n.wire
}

// dies kills SPDK, waits until all that it had is given back, and starts it again. (Nobody collects the dead
// in the machine.)
func (n *rdmaNode) dies() {
	n.t.Helper()
	n.machine.Shell("pid=$(cat /tmp/spdk.pid); kill -9 $pid; until grep -q 'State:.Z' /proc/$pid/status; do sleep 0.1; done")
	n.machine.Shell(startSPDK)
}

// tryListen lets a subsystem listen on an address.
func (n *rdmaNode) tryListen(subsystem, id string, transport pb.NvmeTransportType, address string, port int) error {
	_, err := n.front.CreateNvmeController(n.t.Context(), &pb.CreateNvmeControllerRequest{
		Parent: "nvmeSubsystems/" + subsystem, NvmeControllerId: id,
		NvmeController: &pb.NvmeController{Spec: &pb.NvmeControllerSpec{
			Trtype: transport,
			Endpoint: &pb.NvmeControllerSpec_FabricsId{FabricsId: &pb.FabricsEndpoint{
				Traddr: address, Trsvcid: strconv.Itoa(port), Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
			}},
		}},
	})
	return err
}

// listenOn is tryListen, and it must work.
func (n *rdmaNode) listenOn(subsystem, id string, transport pb.NvmeTransportType, address string, port int) {
	n.t.Helper()
	n.must(n.tryListen(subsystem, id, transport, address, port))
}

// ram makes a volume of the machine's disk in memory, which outlives SPDK, and returns its name.
func (n *rdmaNode) ram(id string) string {
	n.t.Helper()
	v, err := pb.NewAioVolumeServiceClient(n.conn).CreateAioVolume(n.t.Context(), &pb.CreateAioVolumeRequest{
		AioVolumeId: id, AioVolume: &pb.AioVolume{BlockSize: 512, Filename: "/dev/ram0"},
	})
	n.must(err)
	return v.GetName()
}

// controller makes a remote controller that uses several paths at a time.
func (n *rdmaNode) controller(id string) {
	n.t.Helper()
	_, err := n.remote.CreateNvmeRemoteController(n.t.Context(), &pb.CreateNvmeRemoteControllerRequest{
		NvmeRemoteControllerId: id,
		NvmeRemoteController:   &pb.NvmeRemoteController{Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH},
	})
	n.must(err)
}

// namespaces returns those of a remote controller.
func (n *rdmaNode) namespaces(controller string) []*pb.NvmeRemoteNamespace {
	n.t.Helper()
	list, err := n.remote.ListNvmeRemoteNamespaces(n.t.Context(), &pb.ListNvmeRemoteNamespacesRequest{Parent: "nvmeRemoteControllers/" + controller})
	n.must(err)
	return list.GetNvmeRemoteNamespaces()
}

// attachTo makes a path of a remote controller.
func (n *rdmaNode) attachTo(controller, id string, transport pb.NvmeTransportType, address string, port int, nqn string) (*pb.NvmePath, error) {
	return n.remote.CreateNvmePath(n.t.Context(), &pb.CreateNvmePathRequest{
		Parent: "nvmeRemoteControllers/" + controller, NvmePathId: id,
		NvmePath: &pb.NvmePath{
			Trtype: transport, Traddr: address,
			Fabrics: &pb.FabricsPath{Trsvcid: int64(port), Subnqn: nqn, Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4},
		},
	})
}

// path is attachTo, and it must work. It is insisted on: a machine that is held up for a moment, as emulated ones
// are, looks to the other's adapter like a broken wire.
func (n *rdmaNode) path(controller, id string, transport pb.NvmeTransportType, address string, port int, nqn string) {
	n.t.Helper()
	testkit.Eventually(n.t, "attached", func() error {
		_, err := n.attachTo(controller, id, transport, address, port, nqn)
		return err
	})
}

// connect makes the machine's kernel a host of a subsystem, and returns the device.
func (n *rdmaNode) connect(transport, address, nqn, uuid string) string {
	n.t.Helper()
	n.must(n.machine.Connect(fmt.Sprintf("transport=%s,traddr=%s,trsvcid=4420,nqn=%s,hostnqn=%s,ctrl_loss_tmo=-1,reconnect_delay=1",
		transport, address, nqn, allowedNQN)))
	return "/dev/" + find(n.t, n.machine, "the disk over "+transport, byUUID(uuid)).Name
}
