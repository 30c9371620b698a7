// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
)

// marshaler is the gateway's JSON marshaler, but strict in what it takes, and silent about values:
// the decoder below would quote them in its errors, and a value may be a key.
type marshaler struct{ *runtime.JSONPb }

func newMarshaler() marshaler {
	return marshaler{&runtime.JSONPb{MarshalOptions: protojson.MarshalOptions{EmitUnpopulated: true}}}
}

// NewDecoder implements runtime.Marshaler.
func (m marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	decoder := json.NewDecoder(r)
	inner := runtime.DecoderWrapper{Decoder: decoder, UnmarshalOptions: m.UnmarshalOptions}
	return runtime.DecoderFunc(func(v any) error {
		err := inner.Decode(v)
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
			return errors.New("the body is not complete JSON")
		case errors.Is(err, io.EOF):
			return io.EOF // an empty body, which the generated code tells by this very value
		case err != nil:
			return withoutValue(err)
		}
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			return errors.New("the body goes on behind the JSON object")
		}
		return nil
	})
}

// named finds, in the texts of the JSON decoder, which field an error is about and where.
var named = regexp.MustCompile(`(?:\(line (\d+:\d+)\): ?)?((?:unknown|duplicate) field "[^"]*"|invalid value for \S+ field \S+?):?(?:\s|$)`)

// withoutValue returns a decoder's error with the names that it holds and without the values.
func withoutValue(err error) error {
	found := named.FindStringSubmatch(err.Error())
	switch {
	case found == nil:
		return errors.New("the body is not the JSON of this request: check its syntax, and that objects and lists are where they belong")
	case found[1] == "":
		return errors.New("the body has " + one(found[2]))
	}
	return fmt.Errorf("the body has, at line %s, %s", found[1], one(found[2]))
}

// one puts the article before what the decoder found.
func one(found string) string {
	if strings.HasPrefix(found, "duplicate") {
		return "a " + found
	}
	return "an " + found
}

// inBody finds, in the text of an error of withoutValue, the field that it is about.
var inBody = regexp.MustCompile(`^the body has\b.*\bfield "?([^"\s]+)"?$`)
