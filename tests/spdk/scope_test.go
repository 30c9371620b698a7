// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"encoding/base64"
	"strings"
)

// outOfScope says why a method of the recordings is not replayed; "" if it is. It is the whole list:
// the replay fails when a method here is served after all, or appears in no recording.
func outOfScope() map[string]string {
	const (
		stacked   = "no such kind of bdev"
		internals = "SPDK's reactors, pollers, sockets and buffers have no counterpart in a Go process"
		startup   = "the framework is initialized from the start; there is nothing to set before"
		masking   = "namespaces are visible to every host of their subsystem and keep their group"
	)
	return map[string]string{
		"nvmf_subsystem_set_ns_ana_group": masking, "nvmf_ns_add_host": masking, "nvmf_ns_remove_host": masking,
		"bdev_lvol_create_lvstore": stacked, "bdev_lvol_create": stacked, "bdev_lvol_get_lvstores": stacked,
		"bdev_passthru_create": stacked, "bdev_error_create": stacked, "bdev_error_delete": stacked,
		"bdev_error_inject_error":     stacked,
		"bdev_set_qd_sampling_period": internals, "bdev_enable_histogram": internals, "bdev_get_histogram": internals,
		"bdev_examine":           internals,
		"framework_get_reactors": internals, "framework_get_scheduler": internals, "framework_get_pci_devices": internals,
		"thread_get_pollers": internals, "thread_get_io_channels": internals, "iobuf_get_stats": internals,
		"sock_get_default_impl": internals, "sock_impl_get_options": internals,
		"bdev_nvme_get_transport_statistics": internals,
		"bdev_set_options":                   startup, "iobuf_set_options": startup, "accel_set_options": startup,
		"sock_set_default_impl": startup,
	}
}

// outOfScopeSteps says why single steps are not replayed although their method is in scope: file,
// slash, step; a star stands for the rest of the name. Each must be met.
func outOfScopeSteps() map[string]string {
	const (
		vfiouser = "the target has no vfio-user transport"
		keys     = "there is no DH-HMAC-CHAP in the data plane: its keys are refused, so nobody uses one"
		stacked  = "about a passthru bdev, a kind which does not exist here"
		masking  = "namespaces are visible to every host of their subsystem and keep their group"
		options  = "passthrough and enable_nssr have no counterpart here and are refused"
		sources  = "a source port of the host's own is not offered: SPDK never answers with one"
	)
	return map[string]string{
		"04_nvmf_subsystem/transport-vfiouser-unknown-key":   vfiouser,
		"04_nvmf_subsystem/transport-vfiouser-io-qpairs-max": vfiouser,
		"04_nvmf_subsystem/sub-passthrough":                  options,
		"04_nvmf_ns/ana-ns-default":                          masking,
		"04_nvmf_listener_host/transport-vfiouser":           vfiouser,
		"04_nvmf_listener_host/vfu*":                         vfiouser,
		"04_nvmf_listener_host/host-dhchap":                  keys,
		"04_nvmf_listener_host/host-dhchap-ctrlr-only":       keys,
		"04_nvmf_listener_host/keys":                         keys,
		"06_nvme_auth/st-sub2-host*":                         keys,
		"06_nvme_auth/st-set-keys*":                          keys,
		"06_nvme_auth/st-dh-*":                               keys,
		"06_nvme_auth/dh*":                                   keys,
		"06_nvme_attach/attach-hostsvcid":                    sources,
		"06_nvme_attach/controllers-hostsvcid":               sources,
		"06_nvme_attach/detach-hostsvcid":                    sources,
		"02_bdev_qos_iostat/passthru-get":                    stacked,
		"02_bdev_qos_iostat/passthru-late-get":               stacked,
		"02_bdev_qos_iostat/error-get":                       stacked,
		"02_bdev_qos_iostat/claimed-get":                     stacked,
		"11_restart/*-vfiouser":                              vfiouser,
		"11_restart/*-vfu":                                   vfiouser,
		"11_restart/3-vfu-after-unlink":                      vfiouser,
	}
}

// unjudged says why the answers of a step are not compared although it is carried out.
func unjudged() map[string]string {
	return map[string]string{
		"03b_crypto_key_in_use/crypto-get-after-key-destroy": "SPDK reads memory it has freed: what comes is no JSON, or it dies; we refuse",
		"03b_crypto_key_in_use/all-get-after-key-destroy":    "SPDK reads memory it has freed: what comes is no JSON; we refuse",

		"06_nvme_auth/tls-config": "the number of queues and the time for a connect are shown as they were asked for, not as they came out",

		"10_protocol/half-close-attach":            "our attach takes less than a poll of SPDK, so its answer is not lost; half-close-slow loses one",
		"10_protocol/order-detach-get":             "a detach begins after the turn in which it was asked for: its own turn does not see it yet",
		"10_protocol/attach-two-names-controllers": "which of two attaches at the same time is first is open",
	}
}

// whyNot returns the reason for which a step is not replayed, with the entry of outOfScopeSteps or
// the method that says so.
func whyNot(file string, s *step) (reason, entry string) {
	name := file + "/" + s.Step
	for pattern, reason := range outOfScopeSteps() {
		if matches(pattern, name) {
			return reason, pattern
		}
	}
	return outOfScope()[s.method()], s.method()
}

// matches compares with a pattern that may have one star.
func matches(pattern, name string) bool {
	before, after, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	return len(name) >= len(before)+len(after) && strings.HasPrefix(name, before) && strings.HasSuffix(name, after)
}

// scrub takes out of a recorded or received result what is there only because of steps that are not
// replayed. It returns what is left of v, and false if nothing is.
func scrub(file string, v any) (any, bool) {
	switch v := v.(type) {
	case []any:
		out := make([]any, 0, len(v))
		for _, item := range v {
			if left, ok := scrub(file, item); ok {
				out = append(out, left)
			}
		}
		return out, true
	case map[string]any:
		if foreign(file, v) {
			return nil, false
		}
		out := make(map[string]any, len(v))
		for key, item := range v {
			if left, ok := scrub(file, item); ok {
				out[key] = left
			}
		}
		return out, true
	default:
		return v, true
	}
}

// foreign says whether an object in a result comes from steps that are not replayed.
func foreign(file string, m map[string]any) bool {
	address, _ := m["address"].(map[string]any)
	params, _ := m["params"].(map[string]any)
	listen, _ := params["listen_address"].(map[string]any)
	for _, a := range []map[string]any{m, address, params, listen} {
		if a["trtype"] == "VFIOUSER" {
			return true
		}
	}
	switch file {
	case "01_app":
		return m["name"] == "iscsi_poll_group_1"
	case "02_bdev_qos_iostat":
		delete(m, "io_time")
		delete(m, "queue_depth")
		delete(m, "queue_depth_polling_period")
		delete(m, "weighted_io_time")
		return m["ctx"] == "pt0" || m["ctx"] == "pt2" || m["ctx"] == "EE_q0" ||
			strings.HasPrefix(text(m["method"]), "bdev_passthru")
	case "06_nvme_send_cmd":
		m["data"] = withoutAbilities(m["data"])
		if m["data"] == nil {
			delete(m, "data")
		}
	case "04_nvmf_listener_host":
		return m["dhchap_key"] != nil || params["dhchap_key"] != nil
	case "04_nvmf_subsystem":
		return m["nqn"] == "nqn.2016-06.io.spdk:cnode3" || params["nqn"] == "nqn.2016-06.io.spdk:cnode3"
	case "04_nvmf_ns":
		ns, _ := params["namespace"].(map[string]any)
		return m["bdev_name"] == "m2" && m["anagrpid"] != nil || ns["bdev_name"] == "m2" && ns["anagrpid"] != nil
	case "11_restart":
		if m["name"] == "aio0" {
			delete(m, "claimed") // by a store of volumes
			delete(m, "claim_type")
		}
		return m["product_name"] == "Logical Volume" ||
			uuidText.MatchString(text(m["ctx"]))
	}
	return false
}

// withoutAbilities takes out of what identifies a namespace what our target does otherwise: it has no
// reservations, and copies at most one transfer at once.
func withoutAbilities(data any) any {
	const features, reservations, known, copyLimits, copyLimitsEnd = 24, 31, 0xFE, 74, 80
	page, err := base64.URLEncoding.DecodeString(text(data))
	if err != nil || len(page) != 4096 || page[features] == 0 || page[reservations]&^known != 0 {
		return data
	}
	page[reservations] = 0
	clear(page[copyLimits:copyLimitsEnd])
	return base64.URLEncoding.EncodeToString(page)
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
