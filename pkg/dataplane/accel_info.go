// SPDX-License-Identifier: Apache-2.0

package dataplane

import "context"

func accelInfoMethods() []method {
	return []method{
		without("accel_get_opc_assignments", refusedAny("accel_get_opc_assignments requires no parameters"), opcAssignments),
		without("accel_get_module_info", refusedAny("accel_get_module_info requires no parameters"), accelModules),
	}
}

// accelOperations are what SPDK's software module does. Here the processor does what is needed of it.
func accelOperations() []string {
	return []string{
		"copy", "fill", "dualcast", "compare", "crc32c", "copy_crc32c", "compress", "decompress", "encrypt", "decrypt",
		"xor", "dif_verify", "dif_verify_copy", "dif_generate", "dif_generate_copy", "dix_generate", "dix_verify",
	}
}

const softwareModule = "software"

// opcAssignments says which module does what. There is no choice.
func opcAssignments(_ context.Context, c *call) {
	out := make(map[string]string)
	for _, op := range accelOperations() {
		out[op] = softwareModule
	}
	c.reply(out)
}

type accelModuleResult struct {
	Module       string   `json:"module"`
	SupportedOps []string `json:"supported ops"`
}

// accelModules lists the modules of an SPDK without accelerators.
func accelModules(_ context.Context, c *call) {
	c.reply([]accelModuleResult{
		{Module: "error", SupportedOps: []string{"crc32c"}},
		{Module: softwareModule, SupportedOps: accelOperations()},
	})
}
