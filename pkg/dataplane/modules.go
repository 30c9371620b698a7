// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// module is a part of SPDK that a build may lack, as far as it shows in the JSON-RPC.
type module struct {
	name string
	// methods are those that go with it; subsystems those of framework_get_subsystems.
	methods    func() []method
	subsystems []string
}

// moduleTCP and moduleCrypto show in answers too: a transport is refused by name, and keys need an
// engine that encrypts.
const (
	moduleTCP    = "tcp"
	moduleCrypto = "crypto"
)

// modules lists what can be left out.
func modules() []module {
	return []module{
		{name: "aio", methods: aioMethods},
		{name: moduleCrypto, methods: cryptoMethods},
		{name: "keyring", methods: keyringMethods, subsystems: []string{subsystemKeyring}},
		{name: "malloc", methods: mallocMethods},
		{name: "null", methods: nullMethods},
		{name: "nvme", methods: func() []method {
			return slices.Concat(nvmeOptionsMethods(), nvmeAttachMethods(), nvmeControllerMethods(), nvmePathMethods())
		}},
		{name: "nvmf", methods: func() []method {
			return slices.Concat(transportMethods(), subsystemMethods(), namespaceMethods(), listenerMethods(), hostMethods(),
				nvmfInfoMethods(), referralMethods())
		}, subsystems: []string{subsystemNvmf}},
		{name: moduleTCP, methods: func() []method { return nil }},
		{name: "vhost", methods: vhostMethods, subsystems: []string{subsystemVhostBlk, subsystemVhostSCSI}},
	}
}

// Modules returns the names that Config.Without takes.
func Modules() []string {
	var names []string
	for _, m := range modules() {
		names = append(names, m.name)
	}
	return names
}

// lacks says what a data plane lacks.
type lacks struct{ modules, methods, subsystems map[string]bool }

func lacking(names []string) (lacks, error) {
	l := lacks{modules: map[string]bool{}, methods: map[string]bool{}, subsystems: map[string]bool{}}
	all := modules()
	for _, name := range names {
		i := slices.IndexFunc(all, func(m module) bool { return m.name == name })
		if i < 0 {
			return lacks{}, errdefs.InvalidField("without", "%q is not a module that can be left out: choose of %v", name, Modules())
		}
		l.modules[name] = true
		for _, m := range all[i].methods() {
			l.methods[m.name] = true
		}
		for _, s := range all[i].subsystems {
			l.subsystems[s] = true
		}
	}
	return l, nil
}
