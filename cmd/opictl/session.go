// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs/errgrpc"
	"github.com/opi-bridge/opi-bridge/pkg/tlsconf"
)

// session is what all commands share: where the server is, and how to speak with it and to the user.
type session struct {
	server, web       string
	useTLS            bool
	ca, cert, key, as string
	timeout           time.Duration
	output            string
}

func (s *session) flags(f *pflag.FlagSet) {
	f.StringVarP(&s.server, "server", "s", fromEnv("OPICTL_SERVER", "127.0.0.1:50051"), "gRPC address of the bridge, host:port ($OPICTL_SERVER)")
	f.StringVar(&s.web, "http", fromEnv("OPICTL_HTTP", "127.0.0.1:8082"), "HTTP address of the bridge, host:port, for status ($OPICTL_HTTP)")
	f.BoolVar(&s.useTLS, "tls", false, "use TLS; implied by the other --tls flags")
	f.StringVar(&s.ca, "tls-ca", os.Getenv("OPICTL_TLS_CA"), "file with the CAs of the server, PEM; those of the system when empty ($OPICTL_TLS_CA)")
	f.StringVar(&s.cert, "tls-cert", os.Getenv("OPICTL_TLS_CERT"), "file with your certificate, PEM ($OPICTL_TLS_CERT)")
	f.StringVar(&s.key, "tls-key", os.Getenv("OPICTL_TLS_KEY"), "file with your private key, PEM ($OPICTL_TLS_KEY)")
	f.StringVar(&s.as, "tls-server-name", "", "name to look for in the server's certificate, when it is not the host")
	f.DurationVar(&s.timeout, "timeout", 30*time.Second, "how long a command may take")
	f.StringVarP(&s.output, "output", "o", "table", "table, json or yaml")
}

func fromEnv(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// secure returns the TLS settings for a server at address, nil for plain text.
func (s *session) secure(address string) (*tls.Config, error) {
	if !s.useTLS && s.ca == "" && s.cert == "" && s.key == "" && s.as == "" {
		return nil, nil //nolint:nilnil // no TLS is an answer, not an error
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, usagef("address %q: want host:port", address)
	}
	client, err := tlsconf.NewClient(tlsconf.ClientConfig{CAFile: s.ca, CertFile: s.cert, KeyFile: s.key, ServerName: s.as})
	if err != nil {
		return nil, usageError{err}
	}
	cfg, err := client.Config(host)
	if err != nil {
		return nil, usageError{err}
	}
	return cfg, nil
}

// connect calls do with a connection that translates errors, within the timeout.
func (s *session) connect(ctx context.Context, do func(context.Context, *grpc.ClientConn) error) error {
	cfg, err := s.secure(s.server)
	if err != nil {
		return err
	}
	transport := insecure.NewCredentials()
	if cfg != nil {
		transport = credentials.NewTLS(cfg)
	}
	conn, err := grpc.NewClient(s.server, grpc.WithTransportCredentials(transport),
		grpc.WithUnaryInterceptor(errgrpc.UnaryClient), grpc.WithUserAgent("opictl"))
	if err != nil {
		return usagef("server %q: %w", s.server, err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err = do(ctx, conn)
	if errors.Is(err, errdefs.OutcomeUnknown) && conn.GetState() == connectivity.TransientFailure {
		// There never was a connection, or the request would have its outcome from that.
		return errdefs.Wrap(errdefs.Unavailable, err, "no bridge answers at %s", s.server)
	}
	return err
}

// invoke calls a method of the API with a request that fill has filled.
func invoke(ctx context.Context, conn *grpc.ClientConn, method protoreflect.MethodDescriptor, fill func(protoreflect.Message) error) (protoreflect.Message, error) {
	request, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
	if err != nil {
		return nil, fmt.Errorf("request of %s: %w", method.FullName(), err)
	}
	answer, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		return nil, fmt.Errorf("answer of %s: %w", method.FullName(), err)
	}
	in, out := request.New(), answer.New()
	if err := fill(in); err != nil {
		return nil, err
	}
	path := fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
	if err := conn.Invoke(ctx, path, in.Interface(), out.Interface()); err != nil {
		return nil, errdefs.RenameFields(err, func(field string) string { return asTyped(method.Input(), field) })
	}
	return out, nil
}

// asTyped writes a field of the resource in a request as people type it: without the request's name
// for the resource.
func asTyped(request protoreflect.MessageDescriptor, field string) string {
	first, rest, ok := strings.Cut(field, ".")
	if fd := request.Fields().ByName(protoreflect.Name(first)); !ok || fd == nil || fd.Message() == nil {
		return field
	}
	return rest
}

// setText sets a string field of a request, if the request has it.
func setText(m protoreflect.Message, field, value string) {
	if fd := m.Descriptor().Fields().ByName(protoreflect.Name(field)); fd != nil && value != "" {
		m.Set(fd, protoreflect.ValueOfString(value))
	}
}

// setFlag sets a bool field of a request.
func setFlag(m protoreflect.Message, field string, value bool) {
	if fd := m.Descriptor().Fields().ByName(protoreflect.Name(field)); fd != nil {
		m.Set(fd, protoreflect.ValueOfBool(value))
	}
}

// setResource puts a resource into a request, in the field of its type, and returns that field.
func setResource(m protoreflect.Message, resource proto.Message) protoreflect.FieldDescriptor {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.Message() != nil && fd.Message().FullName() == resource.ProtoReflect().Descriptor().FullName() {
			m.Set(fd, protoreflect.ValueOfMessage(resource.ProtoReflect()))
			return fd
		}
	}
	return nil
}
