// SPDX-License-Identifier: Apache-2.0

// Package telemetry builds what a program observes itself with, from settings: a slog logger, a
// Prometheus registry and an OpenTelemetry tracer provider. Rooms get these through their
// constructors and define their own instruments; nothing here is a package-level variable.
package telemetry
