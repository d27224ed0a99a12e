package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"proxyless.dev/bench/peers/hello"
)

// Messages of one server stream, as bench.loads has them.
const streamMessages = 1_000

// What bench.processes reads after each round; p50 in seconds.
type done struct {
	Calls   int      `json:"calls"`
	Seconds float64  `json:"seconds"`
	P50     *float64 `json:"p50"`
}

type callers struct {
	stub        hello.GreeterClient
	request     *hello.HelloRequest
	concurrency int
}

func client(port int, load string, concurrency, payload int) error {
	target := fmt.Sprintf("127.0.0.1:%d", port)
	channel, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer channel.Close()
	request := &hello.HelloRequest{Payload: make([]byte, payload), Count: streamMessages}
	all := callers{hello.NewGreeterClient(channel), request, concurrency}
	round := all.unary
	if load == "stream" {
		round = all.stream
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		seconds, err := strconv.ParseFloat(lines.Text(), 64)
		if err != nil {
			return err
		}
		answer, err := round(time.Duration(seconds * float64(time.Second)))
		if err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
			return err
		}
	}
	return nil
}

func (c callers) unary(length time.Duration) (done, error) {
	type result struct {
		times []time.Duration
		err   error
	}
	results, start := make(chan result), time.Now()
	for range c.concurrency {
		go func() {
			times, err := c.calls(start.Add(length))
			results <- result{times, err}
		}()
	}
	var times []time.Duration
	for range c.concurrency {
		each := <-results
		if each.err != nil {
			return done{}, each.err
		}
		times = append(times, each.times...)
	}
	seconds := time.Since(start).Seconds()
	slices.Sort(times)
	p50 := times[len(times)/2].Seconds()
	return done{len(times), seconds, &p50}, nil
}

// Calls one after the other, and how long each took.
func (c callers) calls(end time.Time) ([]time.Duration, error) {
	var times []time.Duration
	for before := time.Now(); before.Before(end); {
		if _, err := c.stub.SayHello(context.Background(), c.request); err != nil {
			return nil, err
		}
		after := time.Now()
		times = append(times, after.Sub(before))
		before = after
	}
	return times, nil
}

func (c callers) stream(length time.Duration) (done, error) {
	messages, start := 0, time.Now()
	for time.Since(start) < length {
		replies, err := c.stub.ListHellos(context.Background(), c.request)
		if err != nil {
			return done{}, err
		}
		for {
			if _, err := replies.Recv(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return done{}, err
			}
			messages++
		}
	}
	return done{messages, time.Since(start).Seconds(), nil}, nil
}
