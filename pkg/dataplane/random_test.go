// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestRandomCallsLeaveNothingBehind calls at random on several connections, every call in the way of
// every other. Each call is answered, and when all that is there has been removed, nothing is.
func TestRandomCallsLeaveNothingBehind(t *testing.T) {
	const connections, calls = 6, 600
	_, storagePath := serve(t)
	s, path := serve(t)
	ports := []string{freePort(t), freePort(t)}
	storage := dial(t, storagePath)
	storage.must("nvmf_create_transport", `{"trtype":"TCP"}`)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var all sync.WaitGroup
	for n := range connections {
		local, remote := dial(t, path), dial(t, storagePath)
		all.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(n)))
			for range calls {
				c := local
				if rng.IntN(2) == 0 {
					c = remote
				}
				method, params := randomCall(rng, ports)
				answer := c.call(method, params)
				if answer.Error.Code == -32601 || answer.Error.Message == decodeFailed {
					t.Errorf("%s %s: %+v", method, params, answer.Error)
				}
			}
		})
	}
	all.Wait()
	c := dial(t, path)
	for _, info := range s.host.Controllers() {
		c.call("bdev_nvme_detach_controller", fmt.Sprintf(`{"name":%q}`, info.Name))
	}
	if left := string(c.must("bdev_nvme_get_controllers", "")); left != "[]" {
		t.Errorf("controllers are left: %s", left)
	}
	for _, one := range []*caller{c, storage} {
		removeAll(one)
		if left := string(one.must("bdev_get_bdevs", "")); left != "[]" {
			t.Errorf("bdevs are left: %s", left)
		}
	}
}

// randomCall draws a call from few names, so that calls meet.
func randomCall(rng *rand.Rand, ports []string) (method, params string) {
	bdev := fmt.Sprintf("b%d", rng.IntN(6))
	nqn := fmt.Sprintf("nqn.2016-06.io.spdk:cnode%d", rng.IntN(3))
	port := ports[rng.IntN(len(ports))]
	listen := fmt.Sprintf(`{"nqn":%q,"listen_address":{"trtype":"TCP","adrfam":"IPv4","traddr":"127.0.0.1","trsvcid":%q}}`, nqn, port)
	switch rng.IntN(16) {
	case 0, 1:
		return "bdev_malloc_create", fmt.Sprintf(`{"name":%q,"block_size":512,"num_blocks":64}`, bdev)
	case 2:
		return "bdev_null_create", fmt.Sprintf(`{"name":%q,"block_size":512,"num_blocks":64}`, bdev)
	case 3:
		return "bdev_malloc_delete", fmt.Sprintf(`{"name":%q}`, bdev)
	case 4:
		return "bdev_null_resize", fmt.Sprintf(`{"name":%q,"new_size":%d}`, bdev, 1+rng.IntN(4))
	case 5:
		return "nvmf_create_subsystem", fmt.Sprintf(`{"nqn":%q,"allow_any_host":true}`, nqn)
	case 6:
		return "nvmf_delete_subsystem", fmt.Sprintf(`{"nqn":%q}`, nqn)
	case 7, 8:
		return "nvmf_subsystem_add_ns", fmt.Sprintf(`{"nqn":%q,"namespace":{"bdev_name":%q}}`, nqn, bdev)
	case 9:
		return "nvmf_subsystem_remove_ns", fmt.Sprintf(`{"nqn":%q,"nsid":%d}`, nqn, 1+rng.IntN(3))
	case 10:
		return "nvmf_subsystem_add_listener", listen
	case 11:
		return "nvmf_subsystem_remove_listener", listen
	case 12:
		return "bdev_nvme_attach_controller", fmt.Sprintf(`{"name":"c%d","trtype":"TCP","adrfam":"IPv4","traddr":"127.0.0.1",`+
			`"trsvcid":%q,"subnqn":%q}`, rng.IntN(3), port, nqn)
	case 13:
		return "bdev_nvme_detach_controller", fmt.Sprintf(`{"name":"c%d"}`, rng.IntN(3))
	case 14:
		return "nvmf_subsystem_add_ns", fmt.Sprintf(`{"nqn":%q,"namespace":{"bdev_name":"c%dn1"}}`, nqn, rng.IntN(3))
	default:
		lists := []string{"bdev_get_bdevs", "nvmf_get_subsystems", "bdev_nvme_get_controllers", "bdev_get_iostat", "bdev_nvme_get_io_paths"}
		return lists[rng.IntN(len(lists))], ""
	}
}

// removeAll deletes all subsystems and bdevs.
func removeAll(c *caller) {
	c.Helper()
	var subsystems []struct{ NQN, Subtype string }
	if err := json.Unmarshal(c.must("nvmf_get_subsystems", ""), &subsystems); err != nil {
		c.Fatal(err)
	}
	for _, s := range subsystems {
		if s.Subtype == "NVMe" {
			c.must("nvmf_delete_subsystem", fmt.Sprintf(`{"nqn":%q}`, s.NQN))
		}
	}
	var bdevs []struct {
		Name    string
		Product string `json:"product_name"`
	}
	if err := json.Unmarshal(c.must("bdev_get_bdevs", ""), &bdevs); err != nil {
		c.Fatal(err)
	}
	for _, b := range bdevs {
		method := "bdev_malloc_delete"
		if b.Product == "Null disk" {
			method = "bdev_null_delete"
		}
		c.must(method, fmt.Sprintf(`{"name":%q}`, b.Name))
	}
}
