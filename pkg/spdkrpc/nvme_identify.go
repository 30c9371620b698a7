// SPDX-License-Identifier: Apache-2.0

package spdkrpc

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// MethodNvmeSendCmd is the method that passes NVMe commands on to a remote controller.
const MethodNvmeSendCmd = "bdev_nvme_send_cmd"

// NvmeNamespaceIDs is by what a remote namespace says it is known, in lower case; "" is none.
type NvmeNamespaceIDs struct {
	UUID  string // with dashes
	NGUID string // 32 hexadecimal digits
	EUI64 string // 16 hexadecimal digits
}

type nvmeSendCmd struct {
	Name          string `json:"name"`
	CmdType       string `json:"cmd_type"`
	DataDirection string `json:"data_direction"`
	Cmdbuf        string `json:"cmdbuf"`
	DataLen       uint32 `json:"data_len"`
}

type nvmeSendCmdResult struct {
	Cpl  string `json:"cpl"`
	Data string `json:"data"`
}

// Sizes and offsets of the NVM Express Base Specification: submission and completion queue entry
// (3.3.3), Identify (5.17) and what it returns about a namespace.
const (
	nvmeSQESize, nvmeCQESize = 64, 16
	nvmeIdentify             = 0x06
	nvmeIdentifySize         = 4096
	nvmeNsidAt, nvmeCNSAt    = 4, 40
	nvmeStatusAt             = 14

	cnsNamespace, cnsDescriptors = 0, 3

	nguidAt, nguidSize = 104, 16
	eui64At, eui64Size = 120, 8
)

// GetNvmeNamespaceIDs asks the remote controller of that name for the identifiers of a namespace: one
// command, or two when the first tells neither NGUID nor EUI-64.
func GetNvmeNamespaceIDs(ctx context.Context, c Caller, controller string, nsid uint32) (NvmeNamespaceIDs, error) {
	page, err := nvmeIdentifyPage(ctx, c, controller, nsid, cnsDescriptors)
	ids := descriptors(page)
	if err == nil && (ids.NGUID != "" || ids.EUI64 != "") {
		return ids, nil
	}
	// Controllers before NVMe 1.3 have no descriptors, and not all put everything there.
	page, second := nvmeIdentifyPage(ctx, c, controller, nsid, cnsNamespace)
	if second != nil {
		if err != nil {
			return ids, err
		}
		return ids, second
	}
	ids.NGUID = identifier(page[nguidAt : nguidAt+nguidSize])
	ids.EUI64 = identifier(page[eui64At : eui64At+eui64Size])
	return ids, nil
}

// nvmeIdentifyPage has one Identify command carried out; the page has the right size, or there is an error.
func nvmeIdentifyPage(ctx context.Context, c Caller, controller string, nsid uint32, cns byte) ([]byte, error) {
	var entry [nvmeSQESize]byte
	entry[0], entry[nvmeCNSAt] = nvmeIdentify, cns
	binary.LittleEndian.PutUint32(entry[nvmeNsidAt:], nsid)
	answer, err := get[nvmeSendCmdResult](ctx, c, MethodNvmeSendCmd, nvmeSendCmd{
		Name: controller, CmdType: "admin", DataDirection: "c2h",
		Cmdbuf: base64.URLEncoding.EncodeToString(entry[:]), DataLen: nvmeIdentifySize,
	})
	if err != nil {
		return nil, err
	}
	cpl, err := base64.URLEncoding.DecodeString(answer.Cpl)
	if err != nil || len(cpl) != nvmeCQESize {
		return nil, fmt.Errorf("identify namespace %d of %s: %q is no completion queue entry", nsid, controller, answer.Cpl)
	}
	if status := binary.LittleEndian.Uint16(cpl[nvmeStatusAt:]) >> 1; status != 0 {
		return nil, fmt.Errorf("identify namespace %d of %s: the controller answers with status %#04x", nsid, controller, status)
	}
	page, err := base64.URLEncoding.DecodeString(answer.Data)
	if err != nil || len(page) != nvmeIdentifySize {
		return nil, fmt.Errorf("identify namespace %d of %s: %d bytes of data, not %d", nsid, controller, len(page), nvmeIdentifySize)
	}
	return page, nil
}

// descriptors reads a list of namespace identification descriptors as far as it makes sense.
func descriptors(page []byte) (ids NvmeNamespaceIDs) {
	for len(page) > 4 && page[0] != 0 {
		kind, size := page[0], int(page[1])
		if size == 0 || 4+size > len(page) {
			return ids
		}
		id := page[4 : 4+size]
		switch {
		case kind == 1 && size == eui64Size:
			ids.EUI64 = identifier(id)
		case kind == 2 && size == nguidSize:
			ids.NGUID = identifier(id)
		case kind == 3 && size == 16:
			if s := identifier(id); s != "" {
				ids.UUID = s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
			}
		}
		page = page[4+size:]
	}
	return ids
}

// identifier writes an identifier in hexadecimal digits, and one that is all zero as none.
func identifier(b []byte) string {
	for _, v := range b {
		if v != 0 {
			return hex.EncodeToString(b)
		}
	}
	return ""
}
