// SPDX-License-Identifier: Apache-2.0

// Package errdefs holds the words in which every room says that something failed: a small set of
// classes, and an [Error] that carries one class, a sentence for people, and details for programs.
//
// Test with errors.Is(err, errdefs.NotFound), never by text. Subpackage errgrpc is the one place
// that translates to and from gRPC status.
package errdefs

import (
	"context"
	"errors"
	"fmt"
)

// Class says what kind of failure an error is. A Class is itself an error, so that errors.Is finds
// it anywhere in a chain.
type Class string

// The classes. Each corresponds to one gRPC code, except OutcomeUnknown, which clients see as
// Unavailable: to repeat the request is the right answer to both.
const (
	// InvalidArgument: the request is wrong whatever the state of the system is.
	InvalidArgument Class = "invalid argument"
	// NotFound: the thing named does not exist.
	NotFound Class = "not found"
	// AlreadyExists: the thing to be made exists, and differs from what was asked for.
	AlreadyExists Class = "already exists"
	// FailedPrecondition: the state of the system forbids it (the thing is in use, for instance).
	FailedPrecondition Class = "failed precondition"
	// ResourceExhausted: a limit is reached (memory, disk, number of subsystems, request size).
	ResourceExhausted Class = "resource exhausted"
	// Aborted: somebody else changed the thing at the same time; read it and try again.
	Aborted Class = "aborted"
	// Unavailable: a part is away (data plane, store, remote target) and nothing has been done.
	Unavailable Class = "unavailable"
	// OutcomeUnknown: the answer was lost, so the operation may or may not have happened.
	OutcomeUnknown Class = "outcome unknown"
	// Unimplemented: this build, driver or data plane has no such ability.
	Unimplemented Class = "unimplemented"
	// PermissionDenied: the caller is known and not allowed to do this.
	PermissionDenied Class = "permission denied"
	// Unauthenticated: the caller is not known.
	Unauthenticated Class = "unauthenticated"
	// DeadlineExceeded: the caller's deadline passed before anything was changed.
	DeadlineExceeded Class = "deadline exceeded"
	// Canceled: the caller gave up before anything was changed.
	Canceled Class = "canceled"
	// Internal: a broken promise of our own, or an answer nobody expected.
	Internal Class = "internal"
)

// Error makes Class an error.
func (c Class) Error() string { return string(c) }

// FieldViolation says what is wrong with one field of a request.
type FieldViolation struct {
	// Field is the path of the field in the request, proto names joined by dots.
	Field string
	// Description says what is wrong with the value and what would be right.
	Description string
}

// Precondition says which state of the system stands in the way.
type Precondition struct {
	// Type is a short constant in capitals, for example "IN_USE".
	Type string
	// Subject is the resource name of what stands in the way.
	Subject string
	// Description says what to do about it.
	Description string
}

// Error is a failure with a class. Make one with [New] or [Wrap], add details with the With methods.
// An Error that has been returned is not changed any more, so it may be shared between goroutines.
type Error struct {
	class         Class
	message       string
	cause         error
	fields        []FieldViolation
	preconditions []Precondition
	reason        string
	metadata      map[string]string
}

// New returns an error of the class. The message names the thing, the value and the remedy.
func New(class Class, format string, args ...any) *Error {
	return &Error{class: class, message: fmt.Sprintf(format, args...)}
}

// Wrap returns an error of the class with cause below it; the text of cause is appended.
func Wrap(class Class, cause error, format string, args ...any) *Error {
	return &Error{class: class, message: fmt.Sprintf(format, args...), cause: cause}
}

// Invalid returns an InvalidArgument that lists the fields which are wrong. It returns nil, as an
// untyped error, when there are none, so that a check can end in "return errdefs.Invalid(v)".
func Invalid(violations []FieldViolation) error {
	if len(violations) == 0 {
		return nil
	}
	e := New(InvalidArgument, "%s: %s", violations[0].Field, violations[0].Description)
	if n := len(violations) - 1; n > 0 {
		e.message += fmt.Sprintf(" (and %d more, see the details)", n)
	}
	e.fields = violations
	return e
}

// InvalidField returns an InvalidArgument about a single field.
func InvalidField(field, format string, args ...any) error {
	return Invalid([]FieldViolation{{Field: field, Description: fmt.Sprintf(format, args...)}})
}

// Error returns the message and the text of the cause, if there is one.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.message
	}
	return e.message + ": " + e.cause.Error()
}

// Unwrap returns the class and the cause, so that errors.Is and errors.As find both.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.class}
	}
	return []error{e.class, e.cause}
}

// Class returns the class of the error.
func (e *Error) Class() Class { return e.class }

// Message returns the sentence without the text of the cause.
func (e *Error) Message() string { return e.message }

// WithPrecondition adds a precondition and returns e.
func (e *Error) WithPrecondition(p Precondition) *Error {
	e.preconditions = append(e.preconditions, p)
	return e
}

// WithInfo sets the machine-readable reason (capitals, "SPDK_ERROR" say) and its metadata; returns e.
func (e *Error) WithInfo(reason string, metadata map[string]string) *Error {
	e.reason, e.metadata = reason, metadata
	return e
}

// ClassOf returns the class of the outermost error in the chain that has one. Errors of package
// context count as DeadlineExceeded and Canceled; anything else without a class is Internal.
// ClassOf(nil) is the empty class.
func ClassOf(err error) Class {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.class
	}
	if c, ok := errors.AsType[Class](err); ok {
		return c
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return Canceled
	}
	return Internal
}

// Fields returns every field violation in the chain of err.
func Fields(err error) []FieldViolation {
	if r, ok := errors.AsType[*renamed](err); ok {
		return r.fields
	}
	var all []FieldViolation
	walk(err, func(e *Error) { all = append(all, e.fields...) })
	return all
}

// RenameFields returns err with the path of every field violation replaced by what rename makes of
// it: a room that knows a message only as part of another says so with this. Nil stays nil.
func RenameFields(err error, rename func(path string) string) error {
	fields := Fields(err)
	if len(fields) == 0 {
		return err
	}
	r := &renamed{error: err, fields: make([]FieldViolation, len(fields))}
	for i, f := range fields {
		r.fields[i] = FieldViolation{Field: rename(f.Field), Description: f.Description}
	}
	return r
}

// renamed is an error whose field violations have other paths than those in its chain.
type renamed struct {
	error
	fields []FieldViolation
}

func (r *renamed) Unwrap() error { return r.error }

// Preconditions returns every precondition in the chain of err.
func Preconditions(err error) []Precondition {
	var all []Precondition
	walk(err, func(e *Error) { all = append(all, e.preconditions...) })
	return all
}

// Info returns the outermost reason in the chain of err with its metadata, or "".
func Info(err error) (reason string, metadata map[string]string) {
	walk(err, func(e *Error) {
		if reason == "" && e.reason != "" {
			reason, metadata = e.reason, e.metadata
		}
	})
	return reason, metadata
}

// walk calls visit for every *Error in the tree of err, outermost first.
func walk(err error, visit func(*Error)) {
	if e, ok := err.(*Error); ok { //nolint:errorlint // every level is visited by hand, so each is looked at as it is
		visit(e)
	}
	switch u := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() error }:
		if next := u.Unwrap(); next != nil {
			walk(next, visit)
		}
	case interface{ Unwrap() []error }:
		for _, next := range u.Unwrap() {
			walk(next, visit)
		}
	}
}
