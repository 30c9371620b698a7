// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"syscall"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
)

func nvmeCommandMethods() []method {
	return []method{taking("bdev_nvme_send_cmd", refusedArgument, sendCommand)}
}

// commandType says to which queue a command goes.
type commandType string

const adminCommand commandType = "admin"

func (commandType) words() []string { return []string{string(adminCommand), "io"} }

// dataDirection says whether the answer carries data.
type dataDirection string

const fromController dataDirection = "c2h"

func (dataDirection) words() []string { return []string{"h2c", string(fromController)} }

type sendCommandParams struct {
	Name          string        `rpc:"name,required"`
	CmdType       commandType   `rpc:"cmd_type,required"`
	DataDirection dataDirection `rpc:"data_direction,required"`
	Cmdbuf        string        `rpc:"cmdbuf,required"`
	TimeoutMS     uint32        `rpc:"timeout_ms"`
	DataLen       uint32        `rpc:"data_len"`
	MetadataLen   uint32        `rpc:"metadata_len"`
	Data          *string       `rpc:"data"`
	Metadata      *string       `rpc:"metadata"`
}

type sendCommandResult struct {
	Cpl  string `json:"cpl"`
	Data string `json:"data,omitempty"`
}

// noSeparateMetadata is what a command with a metadata buffer is told.
const noSeparateMetadata = "metadata and metadata_len cannot be used: NVMe over TCP has no metadata apart from the data"

// command puts the parameters together, or reports false when they are not such.
func (p *sendCommandParams) command() (*host.Command, bool) {
	entry, ok := unbase64(p.Cmdbuf)
	if !ok || len(entry) != nvme.SQESize {
		return nil, false
	}
	c := &host.Command{
		Admin: p.CmdType == adminCommand, Entry: [nvme.SQESize]byte(entry),
		Timeout: time.Duration(p.TimeoutMS) * time.Millisecond,
	}
	switch {
	case p.Data != nil:
		c.Data, ok = unbase64(*p.Data)
		return c, ok && (p.DataLen == 0 || int(p.DataLen) == len(c.Data))
	case p.DataLen > host.CommandDataMax:
		return nil, false
	default:
		c.Data = make([]byte, p.DataLen)
		return c, true
	}
}

// unbase64 reads the URL-safe form with its padding.
func unbase64(text string) ([]byte, bool) {
	data, err := base64.URLEncoding.DecodeString(text)
	return data, err == nil && !strings.ContainsAny(text, "\r\n")
}

// sendCommand passes a command on to a remote controller, as it is.
func sendCommand(ctx context.Context, c *call, p *sendCommandParams) {
	command, ok := p.command()
	switch {
	case !ok:
		c.refuse()
		return
	case p.Metadata != nil, p.MetadataLen != 0:
		c.fail(jsonrpc.CodeInvalidParams, noSeparateMetadata)
		return
	}
	c.later("", func() {
		cqe, err := c.server.host.Command(ctx, p.Name, command)
		switch {
		case errors.Is(err, errdefs.NotFound):
			c.refuse()
			return
		case errors.Is(err, errdefs.InvalidArgument):
			c.fail(jsonrpc.CodeInvalidParams, strerror(syscall.EINVAL)+": "+err.Error())
			return
		case err != nil:
			c.server.cfg.Log.Debug("command not answered", "name", p.Name, "err", err)
			c.fail(jsonrpc.CodeInternalError, strerror(errnoOf(err)))
			return
		}
		out := sendCommandResult{Cpl: base64.URLEncoding.EncodeToString(cqe[:])}
		if p.DataDirection == fromController {
			out.Data = base64.URLEncoding.EncodeToString(command.Data)
		}
		c.reply(out)
	})
}
