// SPDX-License-Identifier: Apache-2.0

// Command generate writes Go code beside the .proto files that are its arguments, paths below the
// working directory. It needs nothing but Go: the files are compiled by a library, what they import
// comes from the descriptors that are linked in here, and the plugins are the tools of go.mod, run
// in the versions that stand there.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	_ "google.golang.org/genproto/googleapis/api/annotations" // for what .proto files import
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	_ "google.golang.org/protobuf/types/known/durationpb"  // likewise
	_ "google.golang.org/protobuf/types/known/timestamppb" // likewise
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

// plugins returns the tools that write code.
func plugins() []string {
	return []string{"protoc-gen-go", "protoc-gen-go-grpc", "protoc-gen-grpc-gateway"}
}

func run(ctx context.Context, files []string) error {
	if len(files) == 0 {
		return errors.New("name at least one .proto file")
	}
	request, err := compile(ctx, files)
	if err != nil {
		return err
	}
	for _, plugin := range plugins() {
		if err := generate(ctx, plugin, request); err != nil {
			return fmt.Errorf("%s: %w", plugin, err)
		}
	}
	return nil
}

// compile returns what plugins are asked.
func compile(ctx context.Context, files []string) (*pluginpb.CodeGeneratorRequest, error) {
	compiler := protocompile.Compiler{
		Resolver: protocompile.CompositeResolver{
			&protocompile.SourceResolver{},
			protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
				desc, err := protoregistry.GlobalFiles.FindFileByPath(path)
				return protocompile.SearchResult{Desc: desc}, err
			}),
		},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(ctx, files...)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: files, Parameter: new("paths=source_relative"),
	}
	seen := map[string]bool{}
	var add func(file protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		request.ProtoFile = append(request.ProtoFile, descriptor(file))
	}
	for _, file := range compiled {
		add(file)
	}
	return request, nil
}

// descriptor returns a file with its comments, which only the compiler's own form keeps whole.
func descriptor(file protoreflect.FileDescriptor) *descriptorpb.FileDescriptorProto {
	if result, ok := file.(linker.Result); ok {
		return result.FileDescriptorProto()
	}
	return protodesc.ToFileDescriptorProto(file)
}

// generate runs a plugin and writes what it returns.
func generate(ctx context.Context, plugin string, request *pluginpb.CodeGeneratorRequest) error {
	in, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "tool", plugin) //nolint:gosec // one of the names above
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return err
	}
	if response.Error != nil {
		return errors.New(response.GetError())
	}
	for _, file := range response.GetFile() {
		if !filepath.IsLocal(file.GetName()) {
			return fmt.Errorf("asks for a file at %q", file.GetName())
		}
		if err := os.WriteFile(file.GetName(), []byte(file.GetContent()), 0o644); err != nil { //nolint:gosec // source code is for all to read
			return err
		}
	}
	return nil
}
