package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"

	"google.golang.org/grpc"

	"proxyless.dev/bench/peers/hello"
)

type greeter struct {
	hello.UnimplementedGreeterServer
}

func (greeter) SayHello(_ context.Context, request *hello.HelloRequest) (*hello.HelloReply, error) {
	return &hello.HelloReply{Payload: request.Payload}, nil
}

func (greeter) ListHellos(request *hello.HelloRequest, stream grpc.ServerStreamingServer[hello.HelloReply]) error {
	for range request.Count {
		if err := stream.Send(&hello.HelloReply{Payload: request.Payload}); err != nil {
			return err
		}
	}
	return nil
}

func serve() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	server := grpc.NewServer()
	hello.RegisterGreeterServer(server, greeter{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		server.Stop()
	}()
	return server.Serve(listener)
}
