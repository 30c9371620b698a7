// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"io"
	"log/slog"
)

// LogConfig says what the log looks like. The zero value of Level and Format means the default.
type LogConfig struct {
	// Level is "debug", "info" (the default), "warn" or "error".
	Level string
	// Format is "text" (the default) or "json".
	Format string
	// Output is where lines go. Required. It is written to by one goroutine at a time.
	Output io.Writer
}

// NewLogger returns a logger, or an error that names the setting which is wrong.
func NewLogger(cfg LogConfig) (*slog.Logger, error) {
	if cfg.Output == nil {
		return nil, fmt.Errorf("log: no output given")
	}
	var level slog.Level
	switch cfg.Level {
	case "debug":
		level = slog.LevelDebug
	case "", "info":
		level = slog.LevelInfo
	case "warn":
		level = slog.LevelWarn
	case "error":
		level = slog.LevelError
	default:
		return nil, fmt.Errorf("log level %q: want debug, info, warn or error", cfg.Level)
	}
	options := &slog.HandlerOptions{Level: level}
	switch cfg.Format {
	case "", "text":
		return slog.New(slog.NewTextHandler(cfg.Output, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(cfg.Output, options)), nil
	}
	return nil, fmt.Errorf("log format %q: want text or json", cfg.Format)
}
