// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
)

// This file is all there is about the versions of SPDK that can be played: which there are, which
// methods and parameters each of them has (offers), and how else they differ (manners). A test holds
// every line of both.

// spdkVersion is a release of SPDK: year and month.
type spdkVersion struct{ major, minor int }

// spdkVersions lists what can be played, the oldest first.
func spdkVersions() []spdkVersion {
	return []spdkVersion{{24, 1}, {24, 5}, {24, 9}, {25, 1}, {25, 5}, {25, 9}, {26, 1}, {26, 5}, {26, 9}}
}

func (v spdkVersion) String() string { return fmt.Sprintf("%d.%02d", v.major, v.minor) }

// since says whether v is the other version or a later one.
func (v spdkVersion) since(o spdkVersion) bool {
	return v.major > o.major || v.major == o.major && v.minor >= o.minor
}

// parseSPDKVersion reads a version such as 24.09; "" is the newest.
func parseSPDKVersion(s string) (spdkVersion, error) {
	all := spdkVersions()
	if s == "" {
		return all[len(all)-1], nil
	}
	for _, v := range all {
		if v.String() == s {
			return v, nil
		}
	}
	return spdkVersion{}, errdefs.InvalidField("spdk_version", "%q is not a version of SPDK that can be played: choose one of %v", s, all)
}

// offer is a method, or a parameter of one, that not all versions have.
type offer struct {
	method string
	// param is a parameter, with a dot before one of an object; "" is the method itself.
	param string
	// from is the first version that has it, to the first that has it no more; zero means always.
	from, to spdkVersion
}

func (o *offer) in(v spdkVersion) bool {
	return (o.from == spdkVersion{} || v.since(o.from)) && (o.to == spdkVersion{} || !v.since(o.to))
}

// offers lists what came and went.
func offers() []offer {
	v2405, v2409, v2505 := spdkVersion{24, 5}, spdkVersion{24, 9}, spdkVersion{25, 5}
	v2601, v2605, v2609 := spdkVersion{26, 1}, spdkVersion{26, 5}, spdkVersion{26, 9}
	return []offer{
		{method: "keyring_file_add_key", from: v2405},
		{method: "keyring_file_remove_key", from: v2405},
		{method: "keyring_get_keys", from: v2405},
		{method: "bdev_aio_create", param: "fallocate", from: v2405},
		{method: "nvmf_subsystem_add_ns", param: "namespace.no_auto_visible", from: v2405},
		{method: "bdev_nvme_attach_controller", param: "dhchap_key", from: v2405},
		{method: "bdev_nvme_attach_controller", param: "dhchap_ctrlr_key", from: v2405},
		{method: "nvmf_subsystem_add_host", param: "dhchap_key", from: v2405},
		{method: "nvmf_subsystem_add_host", param: "dhchap_ctrlr_key", from: v2405},
		{method: "bdev_aio_create", param: "uuid", from: v2409},
		{method: "nvmf_create_subsystem", param: "passthrough", from: v2409},
		{method: "nvmf_subsystem_add_listener", param: "sock_impl", from: v2409},
		{method: "bdev_get_iostat", param: "reset_mode", from: v2505},
		{method: "bdev_nvme_set_options", param: "tcp_connect_timeout_ms", from: v2505},
		{method: "bdev_get_iostat", param: "names", from: v2601},
		{method: "bdev_aio_create", param: "nowait", from: v2601},
		{method: "nvmf_subsystem_remove_listener", param: "secure_channel", to: v2601},
		{method: "nvmf_subsystem_remove_listener", param: "ana_state", to: v2601},
		{method: "nvmf_subsystem_remove_listener", param: "sock_impl", to: v2601},
		{method: "bdev_get_iostat", param: "name", to: v2605},
		{method: "nvmf_subsystem_remove_host", param: "timeout_ms", from: v2605},
		{method: "nvmf_create_subsystem", param: "dmrsl", from: v2605},
		{method: "nvmf_create_subsystem", param: "wzsl", from: v2605},
		{method: "bdev_nvme_set_options", param: "multipath_opts", from: v2605},
		{method: "bdev_nvme_attach_controller", param: "multipath_opts", from: v2605},
		{method: "nvmf_create_subsystem", param: "max_discard_size_kib", to: v2609},
		{method: "nvmf_create_subsystem", param: "max_write_zeroes_size_kib", to: v2609},
		{method: "nvmf_create_subsystem", param: "admin_label", from: v2609},
		{method: "bdev_nvme_attach_controller", param: "disable_sq_flow_control", from: v2609},
	}
}

// manners are the differences between versions that are not in what they offer.
type manners struct {
	version spdkVersion
	// suffix is that of the version in spdk_get_version.
	suffix string
	// maxRequestBytes and maxValues bound a request; 0 is the JSON-RPC server's default.
	maxRequestBytes, maxValues int
	// noBatch refuses arrays of requests.
	noBatch bool
	// idleLimitsTrap: limits of a bdev that nobody uses can be set only once.
	idleLimitsTrap bool
	// writeHints: bdev_get_bdevs shows preferred sizes of writes and unmaps.
	writeHints bool
	// controllerType: nvmf_subsystem_get_controllers shows whether a controller is for I/O.
	controllerType bool
	// hostAgain: a host that is listed can be added once more.
	hostAgain bool
	// pskPath and pskName: the psk of a host or path is the path of a file, or the name of a key.
	pskPath, pskName bool
	// writeCacheMayCome: a namespace with a write cache can be added though hosts know of none.
	writeCacheMayCome bool
	// namesSubsystem: an unknown subsystem is named in the answer.
	namesSubsystem bool
	// multipath is the default mode of bdev_nvme_attach_controller.
	multipath host.Mode
}

// mannersOf returns how a version behaves.
func mannersOf(v spdkVersion) manners {
	m := manners{
		version:           v,
		hostAgain:         !v.since(spdkVersion{24, 9}),
		pskPath:           !v.since(spdkVersion{24, 9}),
		pskName:           v.since(spdkVersion{24, 5}),
		multipath:         host.ModeFailover,
		idleLimitsTrap:    v.since(spdkVersion{25, 9}),
		writeHints:        v.since(spdkVersion{25, 9}),
		controllerType:    v.since(spdkVersion{25, 9}),
		writeCacheMayCome: !v.since(spdkVersion{26, 9}),
		namesSubsystem:    v.since(spdkVersion{26, 9}),
	}
	if v.since(spdkVersion{25, 5}) {
		m.multipath = host.ModeMultipath
	}
	if !v.since(spdkVersion{26, 5}) {
		m.noBatch, m.maxRequestBytes, m.maxValues = true, 32<<10, 1024
	}
	if v == (spdkVersion{26, 9}) {
		m.suffix = "-pre" // the one that was recorded; it had not been released
	}
	return m
}

// offered returns the methods that the version has, without the parameters that it lacks.
func (m *manners) offered(all []method) []method {
	for _, o := range offers() {
		if o.in(m.version) {
			continue
		}
		i := slices.IndexFunc(all, func(x method) bool { return x.name == o.method })
		switch {
		case i < 0:
			panic("dataplane: there is no method " + o.method + ", which is offered by some versions")
		case o.param == "":
			all = slices.Delete(all, i, i+1)
		default:
			all[i].plan.drop(o.param)
		}
	}
	return all
}

// drop takes a parameter out of a plan. One that the plan does not have is a mistake in offers, found
// by the first test that plays such a version.
func (p *plan) drop(param string) {
	name, nested, isNested := strings.Cut(param, ".")
	i, ok := p.byName[name]
	if !ok {
		panic("dataplane: there is no parameter " + param)
	}
	if isNested {
		p.fields[i].nested.drop(nested)
		return
	}
	p.fields = slices.Delete(p.fields, i, i+1)
	clear(p.byName)
	p.required = 0
	for i, f := range p.fields {
		p.byName[f.name] = i
		if f.required {
			p.required |= 1 << i
		}
	}
}

// refuseUnknownSubsystem answers a call about a subsystem that does not exist.
func (c *call) refuseUnknownSubsystem(nqn string) {
	if c.server.manners.namesSubsystem {
		c.fail(jsonrpc.CodeInvalidParams, fmt.Sprintf("Subsystem with NQN '%s' not found", nqn))
		return
	}
	c.fail(refusedParams.code, refusedParams.message)
}
