package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

const patience = 30 * time.Second

type testCase struct {
	name string
	run  func(context.Context, *grpc.ClientConn, testpb.TestServiceClient) error
}

// own wraps a case of grpc-go's, which ends the process when it fails.
func own(do func(context.Context, testpb.TestServiceClient, ...grpc.CallOption)) func(
	context.Context, *grpc.ClientConn, testpb.TestServiceClient,
) error {
	return func(ctx context.Context, _ *grpc.ClientConn, stub testpb.TestServiceClient) error {
		do(ctx, stub)
		return nil
	}
}

var cases = []testCase{
	{"empty_unary", own(interop.DoEmptyUnaryCall)},
	{"large_unary", own(interop.DoLargeUnaryCall)},
	{"client_streaming", own(interop.DoClientStreaming)},
	{"server_streaming", own(interop.DoServerStreaming)},
	{"ping_pong", own(interop.DoPingPong)},
	{"empty_stream", own(interop.DoEmptyStream)},
	{"timeout_on_sleeping_server", own(interop.DoTimeoutOnSleepingServer)},
	{"cancel_after_begin", own(interop.DoCancelAfterBegin)},
	{"cancel_after_first_response", own(interop.DoCancelAfterFirstResponse)},
	{"custom_metadata", own(interop.DoCustomMetadata)},
	{"status_code_and_message", own(interop.DoStatusCodeAndMessage)},
	{"special_status_message", own(interop.DoSpecialStatusMessage)},
	{"unimplemented_method", func(ctx context.Context, channel *grpc.ClientConn, _ testpb.TestServiceClient) error {
		interop.DoUnimplementedMethod(ctx, channel)
		return nil
	}},
	{"unimplemented_service", func(ctx context.Context, channel *grpc.ClientConn, _ testpb.TestServiceClient) error {
		interop.DoUnimplementedService(ctx, testpb.NewUnimplementedServiceClient(channel))
		return nil
	}},
	{"client_compressed_unary", clientCompressedUnary},
	{"server_compressed_unary", serverCompressedUnary},
	{"client_compressed_streaming", clientCompressedStreaming},
	{"server_compressed_streaming", serverCompressedStreaming},
}

func run(target, name, root string) error {
	security, err := clientCredentials(root)
	if err != nil {
		return err
	}
	channel, err := grpc.NewClient(
		target, grpc.WithTransportCredentials(security), grpc.WithStatsHandler(witness{}),
	)
	if err != nil {
		return err
	}
	defer channel.Close()
	found := false
	for _, each := range cases {
		if name != "all" && name != each.name {
			continue
		}
		found = true
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := each.run(ctx, channel, testpb.NewTestServiceClient(channel))
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", each.name, err)
		}
		fmt.Println(each.name, "passed")
	}
	if !found {
		return fmt.Errorf("%q is not a case", name)
	}
	return nil
}

// ---- compression: interop-test-descriptions.md. grpc-go compresses per call, so the messages that a case wants sent
// uncompressed in a compressed stream are compressed here, and the servers under test are asked to expect just that.
// Probes (a lie about compression must be refused) are left out: in Python's API no servicer can see the encoding.

const reqSize, respSize = 271828, 314159

var streamReqSizes, streamRespSizes = []int{27182, 45904}, []int32{31415, 92653}

func clientCompressedUnary(ctx context.Context, _ *grpc.ClientConn, stub testpb.TestServiceClient) error {
	for _, compressed := range []bool{true, false} {
		var options []grpc.CallOption
		if compressed {
			options = append(options, grpc.UseCompressor(gzip.Name))
		}
		reply, err := stub.UnaryCall(ctx, &testpb.SimpleRequest{
			ExpectCompressed: &testpb.BoolValue{Value: compressed},
			ResponseSize:     respSize,
			Payload:          interop.ClientNewPayload(testpb.PayloadType_COMPRESSABLE, reqSize),
		}, options...)
		if err != nil {
			return err
		}
		if size := len(reply.GetPayload().GetBody()); size != respSize {
			return fmt.Errorf("compressed=%v: the response has %d bytes", compressed, size)
		}
	}
	return nil
}

func serverCompressedUnary(ctx context.Context, _ *grpc.ClientConn, stub testpb.TestServiceClient) error {
	for _, compressed := range []bool{true, false} {
		seen := &traffic{}
		reply, err := stub.UnaryCall(context.WithValue(ctx, witness{}, seen), &testpb.SimpleRequest{
			ResponseCompressed: &testpb.BoolValue{Value: compressed},
			ResponseSize:       respSize,
			Payload:            interop.ClientNewPayload(testpb.PayloadType_COMPRESSABLE, reqSize),
		})
		if err != nil {
			return err
		}
		if size := len(reply.GetPayload().GetBody()); size != respSize {
			return fmt.Errorf("compressed=%v: the response has %d bytes", compressed, size)
		}
		if seen.compressed != compressed {
			return fmt.Errorf("the response came compressed=%v, asked was %v", seen.compressed, compressed)
		}
	}
	return nil
}

func clientCompressedStreaming(ctx context.Context, _ *grpc.ClientConn, stub testpb.TestServiceClient) error {
	stream, err := stub.StreamingInputCall(ctx, grpc.UseCompressor(gzip.Name))
	if err != nil {
		return err
	}
	total := 0
	for _, size := range streamReqSizes {
		total += size
		err := stream.Send(&testpb.StreamingInputCallRequest{
			ExpectCompressed: &testpb.BoolValue{Value: true},
			Payload:          interop.ClientNewPayload(testpb.PayloadType_COMPRESSABLE, size),
		})
		if err != nil {
			return err
		}
	}
	reply, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	if int(reply.GetAggregatedPayloadSize()) != total {
		return fmt.Errorf("the server counted %d bytes of %d", reply.GetAggregatedPayloadSize(), total)
	}
	return nil
}

func serverCompressedStreaming(ctx context.Context, _ *grpc.ClientConn, stub testpb.TestServiceClient) error {
	seen := &traffic{}
	asked := []bool{true, false}
	request := &testpb.StreamingOutputCallRequest{}
	for i, size := range streamRespSizes {
		request.ResponseParameters = append(request.ResponseParameters, &testpb.ResponseParameters{
			Size: size, Compressed: &testpb.BoolValue{Value: asked[i]},
		})
	}
	stream, err := stub.StreamingOutputCall(context.WithValue(ctx, witness{}, seen), request)
	if err != nil {
		return err
	}
	for i, size := range streamRespSizes {
		reply, err := stream.Recv()
		if err != nil {
			return err
		}
		if got := len(reply.GetPayload().GetBody()); got != int(size) {
			return fmt.Errorf("message %d has %d bytes, not %d", i, got, size)
		}
		if seen.messages[i] != asked[i] {
			return fmt.Errorf("message %d came compressed=%v, asked was %v", i, seen.messages[i], asked[i])
		}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the last message: %w", err)
	}
	return nil
}
