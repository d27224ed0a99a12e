"""A Celery application over files: its channel is in use before the pool's processes are forked, and used in them."""

import os
from pathlib import Path

from celery import Celery

import rpc
from examples.hello.hello_pb2 import HelloRequest
from examples.hello.hello_pb2_grpc import GreeterStub

FOLDER = Path(os.environ["CELERY_FOLDER"])

app = Celery("greetings", broker="filesystem://", backend=f"file://{FOLDER}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{FOLDER}/queue",
    "data_folder_out": f"{FOLDER}/queue",
    "control_folder": f"{FOLDER}/control",
    "polling_interval": 0.05,
}

stub = GreeterStub(rpc.insecure_channel(os.environ["GREETER_TARGET"]))
loaded_by = os.getpid()
assert stub.SayHello(HelloRequest(name=f"from {loaded_by}"), timeout=30).message


@app.task(name="greet")
def greet(name):
    """Who called, who loaded the application, and what was answered to both kinds of call."""
    request = HelloRequest(name=name)
    replies = [stub.SayHello(request, timeout=30), *stub.ListHellos(request, timeout=30)]
    return os.getpid(), loaded_by, [reply.message for reply in replies]
