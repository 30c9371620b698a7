// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/opi-bridge/opi-bridge/tests/host/machine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBoot(t *testing.T) {
	m := machine.Start(t, machine.Config{Modules: []string{"nvme_tcp", "virtio_blk", "brd", "nvmet_tcp"}})[0]
	t.Log(m.Disks())
	m.LoadModules("nvme_tcp", "brd rd_nr=1 rd_size=8192", "nvmet_tcp")
	t.Log(m.Disks())
	t.Log(m.Shell("ip addr; lsmod; dmesg | grep -i -e tsc -e clock; uptime"))
	m.PowerOff()
}
