// SPDX-License-Identifier: Apache-2.0

//go:build rdma

package host_test

import (
	"fmt"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc/codes"

	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
	"github.com/opi-bridge/opi-bridge/tests/host/guest"
)

// serveOverRDMA makes the kernel's target serve a disk in memory on a port of each transport.
const serveOverRDMA = `set -e
mount -t configfs none /sys/kernel/config
cd /sys/kernel/config/nvmet
mkdir subsystems/%[1]s subsystems/%[1]s/namespaces/1 ports/1 ports/2
cd subsystems/%[1]s
echo 1 >attr_allow_any_host
echo -n /dev/ram1 >namespaces/1/device_path
echo -n %[2]s >namespaces/1/device_uuid
echo -n %[2]s >namespaces/1/device_nguid
echo 1 >namespaces/1/enable
cd ../../ports
echo -n rdma >1/addr_trtype; echo -n %[3]s >1/addr_traddr
echo -n tcp >2/addr_trtype; echo -n %[4]s >2/addr_traddr
for port in 1 2; do
	echo -n ipv4 >$port/addr_adrfam; echo -n %[5]d >$port/addr_trsvcid
	ln -s ../subsystems/%[1]s $port/subsystems/%[1]s
done
`

// transport returns what a node knows of RDMA.
func (n *rdmaNode) transport() *bridgev1.Capabilities_Transport {
	n.t.Helper()
	c, err := bridgev1.NewBridgeServiceClient(n.conn).GetCapabilities(n.t.Context(), &bridgev1.GetCapabilitiesRequest{})
	n.must(err)
	for _, one := range c.GetTransports() {
		if one.GetTransport() == "RDMA" {
			return one
		}
	}
	n.t.Fatalf("RDMA is not among %v", c)
	return nil
}

// TestRDMAPeers has the kernel's NVMe target behind the DPU and the kernel's host in front of it, both over
// RDMA, and asks for what cannot be.
func TestRDMAPeers(t *testing.T) {
	const port = 4430
	storage, dpu := newRDMANodes(t)
	storage.machine.Shell(fmt.Sprintf(serveOverRDMA, kernelNQN, kernelUUID, storage.rdma, storage.wire, port))
	if c := dpu.transport(); c.GetListen() != bridgev1.Capabilities_UNTRIED || c.GetAttach() != bridgev1.Capabilities_UNTRIED {
		t.Errorf("before it is tried: %v", c)
	}

	dpu.controller("kernel")
	for what, address := range map[string]string{
		"an address that nobody has": "192.168.77.99", "a network without RDMA": storage.wire,
	} {
		_, err := dpu.attachTo("kernel", "over-rdma", rdmaType, address, port, kernelNQN)
		t.Logf("a path to %s: %v", what, err)
		refused(t, err, codes.Unavailable, address)
	}
	_, err := dpu.attachTo("kernel", "over-rdma", rdmaType, storage.rdma, port+1, kernelNQN)
	t.Logf("a path to a port on which nobody listens: %v", err)
	refused(t, err, codes.Unavailable, storage.rdma)
	dpu.subsystem("fire", &pb.NvmeSubsystemSpec{Nqn: fireNQN})
	err = dpu.tryListen("fire", "on-rdma", rdmaType, dpu.wire, 4420)
	t.Logf("a listener on a card without RDMA: %v", err)
	refused(t, err, codes.FailedPrecondition, "on a device that does RDMA")

	dpu.path("kernel", "over-rdma", rdmaType, storage.rdma, port, kernelNQN)
	dpu.path("kernel", "over-tcp", tcpType, storage.wire, port, kernelNQN)
	disks := dpu.namespaces("kernel")
	if len(disks) != 1 || disks[0].GetUuid() != kernelUUID {
		t.Fatalf("of the kernel's target the DPU sees %v", disks)
	}
	dpu.namespace("fire", "fire", &pb.NvmeNamespaceSpec{VolumeNameRef: disks[0].GetName(), Uuid: fireUUID})
	dpu.listenOn("fire", "on-rdma", rdmaType, dpu.rdma, 4420)
	if c := dpu.transport(); c.GetListen() != bridgev1.Capabilities_READY || c.GetAttach() != bridgev1.Capabilities_READY {
		t.Errorf("after it was tried: %v", c)
	}

	device := storage.connect("rdma", dpu.rdma, fireNQN, fireUUID)
	storage.machine.StartLoad(guest.Load{Device: device, Bytes: 4 * mib, IOSizeBytes: 16384, Depth: 4, WritePercent: 50, Seed: 7})
	lastLook(t, storage.machine, device)
}
