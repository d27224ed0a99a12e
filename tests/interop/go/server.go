package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // registers the encoding
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

func serve(address, cert, key string) error {
	options := []grpc.ServerOption{grpc.StatsHandler(witness{})}
	if cert != "" {
		tls, err := credentials.NewServerTLSFromFile(cert, key)
		if err != nil {
			return err
		}
		options = append(options, grpc.Creds(tls))
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer(options...)
	testpb.RegisterTestServiceServer(server, &service{TestServiceServer: interop.NewTestServer()})
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with whoever started this
		server.Stop()
	}()
	return server.Serve(listener)
}

// service adds to grpc-go's test service what the compression cases ask for.
type service struct {
	testpb.TestServiceServer
}

func (s *service) UnaryCall(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if err := asExpected(ctx, in.GetExpectCompressed()); err != nil {
		return nil, err
	}
	if err := compressIf(ctx, in.GetResponseCompressed().GetValue()); err != nil {
		return nil, err
	}
	return s.TestServiceServer.UnaryCall(ctx, in)
}

// StreamingOutputCall compresses all messages when one is to be: grpc-go chooses per call.
func (s *service) StreamingOutputCall(
	in *testpb.StreamingOutputCallRequest, stream testpb.TestService_StreamingOutputCallServer,
) error {
	compressed := false
	for _, parameters := range in.GetResponseParameters() {
		compressed = compressed || parameters.GetCompressed().GetValue()
	}
	if err := compressIf(stream.Context(), compressed); err != nil {
		return err
	}
	return s.TestServiceServer.StreamingOutputCall(in, stream)
}

func (s *service) StreamingInputCall(stream testpb.TestService_StreamingInputCallServer) error {
	return s.TestServiceServer.StreamingInputCall(&checkedInput{stream})
}

type checkedInput struct {
	testpb.TestService_StreamingInputCallServer
}

func (c *checkedInput) Recv() (*testpb.StreamingInputCallRequest, error) {
	in, err := c.TestService_StreamingInputCallServer.Recv()
	if err == nil {
		err = asExpected(c.Context(), in.GetExpectCompressed())
	}
	return in, err
}

func asExpected(ctx context.Context, expected *testpb.BoolValue) error {
	seen, _ := ctx.Value(witness{}).(*traffic)
	if expected != nil && expected.GetValue() != seen.compressed {
		return status.Errorf(codes.InvalidArgument, "compressed: %v, expected: %v", seen.compressed, expected.GetValue())
	}
	return nil
}

func compressIf(ctx context.Context, compressed bool) error {
	if compressed {
		return grpc.SetSendCompressor(ctx, "gzip")
	}
	return nil
}

// witness notes of each call whether its last message came compressed, which only a stats handler can see.
type witness struct{}

type traffic struct {
	compressed bool
	messages   []bool
}

func (witness) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	if _, known := ctx.Value(witness{}).(*traffic); known {
		return ctx
	}
	return context.WithValue(ctx, witness{}, &traffic{})
}

func (witness) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if payload, ok := event.(*stats.InPayload); ok {
		seen := ctx.Value(witness{}).(*traffic)
		seen.compressed = payload.CompressedLength != payload.Length
		seen.messages = append(seen.messages, seen.compressed)
	}
}

func (witness) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (witness) HandleConn(context.Context, stats.ConnStats)                       {}
