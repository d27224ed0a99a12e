"""A web application as gunicorn preloads it: its channel is in use before the workers are forked."""

import os

import rpc
from examples.hello.hello_pb2 import HelloRequest
from examples.hello.hello_pb2_grpc import GreeterStub

stub = GreeterStub(rpc.insecure_channel(os.environ["GREETER_TARGET"]))
request = HelloRequest(name=f"from {os.getpid()}")
assert stub.SayHello(request, timeout=30).message


def app(environ, start_response):
    said = stub.SayHello(request, timeout=30).message
    start_response("200 OK", [("content-type", "text/plain")])
    return [f"{os.getpid()}: {said}".encode()]
