// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/pflag"
)

// logSettings are the flags about the log.
type logSettings struct{ level, format string }

func (s *logSettings) register(flags *pflag.FlagSet) {
	flags.StringVar(&s.level, "log-level", "info", "least level that is logged: debug, info, warn or error")
	flags.StringVar(&s.format, "log-format", "text", "how the log is written: text or json")
}

// logger makes the logger; its level can be changed later.
func (s *logSettings) logger(w io.Writer) (*slog.Logger, *slog.LevelVar, error) {
	level := new(slog.LevelVar)
	if err := level.UnmarshalText([]byte(s.level)); err != nil {
		return nil, nil, usageError{fmt.Errorf("--log-level %q: it is debug, info, warn or error", s.level)}
	}
	options := &slog.HandlerOptions{Level: level}
	switch s.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), level, nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), level, nil
	default:
		return nil, nil, usageError{fmt.Errorf("--log-format %q: it is text or json", s.format)}
	}
}
