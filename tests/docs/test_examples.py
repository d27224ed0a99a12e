"""The examples in the docstrings of all public names run as they are written, in a mesh of one service.

They are written for `help()`, so what they import is here: `proxyless.rpc`, grpc, the Greeter of examples/hello, and
what `xds_client`, `localmesh` and `rpc.resolver` make public, and `Pick`. The process is the workload `web`, to which
the service belongs as well.
"""

from __future__ import annotations

import asyncio
import dataclasses
import doctest
import importlib.util
import random
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import localmesh
import xds_client
from examples.hello.hello_pb2 import HelloReply, HelloRequest
from examples.hello.hello_pb2_grpc import GreeterServicer, GreeterStub, add_GreeterServicer_to_server
from examples.hello.server import Greeter
from localmesh import LocalMesh
from proxyless import rpc
from proxyless.rpc.balancing import Pick
from tests.docs.pages import ROOT
from tests.rpc.tls.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

_spec = importlib.util.spec_from_file_location("public_names", ROOT / "tools" / "public_names.py")
assert _spec is not None
assert _spec.loader is not None
public_names = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(public_names)

NAMES: dict[str, Any] = dict(public_names.public())
WEB = "spiffe://cluster.local/ns/demo/sa/web"
HERE = (asyncio, dataclasses, subprocess, grpc, rpc)
THESE = (
    Pick,
    ThreadPoolExecutor,
    Path,
    Queue,
    HelloReply,
    HelloRequest,
    GreeterServicer,
    GreeterStub,
    Greeter,
    LocalMesh,
)


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    modules = {module.__name__.rpartition(".")[2]: module for module in HERE}
    ours = {name: getattr(module, name) for module in (xds_client, localmesh, rpc.resolver) for name in module.__all__}
    things = {thing.__name__: thing for thing in THESE}
    return ours | modules | things | {"add_GreeterServicer_to_server": add_GreeterServicer_to_server}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples find where they run: YAML of a mesh, and PEM files."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(ROOT / "examples" / "hello" / "mtls", folder / "mesh")
    authority = Authority()
    leaf = authority.issue(WEB, dns=("localhost",))
    for name, pem in (("roots", authority.pem), ("chain", leaf.chain), ("key", leaf.key)):
        (folder / f"{name}.pem").write_bytes(pem)
    return folder


@pytest.fixture(scope="module")
def member(folder: Path) -> Iterator[None]:
    """This process is a workload of a mesh, and serves `greeter.demo`."""
    ip = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
    yaml = folder / "mesh" / "greeter.yaml"
    yaml.write_text(yaml.read_text().replace("127.0.0.1, serviceAccount: greeter", f"{ip}, serviceAccount: web"))
    (folder / "mesh" / "mesh.yaml").write_text("outboundTrafficPolicy: {mode: REGISTRY_ONLY}")
    with pytest.MonkeyPatch.context() as patch, LocalMesh(folder / "mesh") as mesh:
        for name, value in mesh.environment("demo", "web", ip=ip, secrets=folder / "secrets").items():
            patch.setenv(name, value)
        patch.chdir(folder)
        server = rpc.server(ThreadPoolExecutor(4))
        add_GreeterServicer_to_server(Greeter(), server)
        server.add_secure_port(f"{ip}:50051", rpc.xds_server_credentials())
        server.start()
        assert rpc.mesh().identity is not None
        yield
        server.stop(None).wait()
        rpc.mesh().close()


def test_every_public_name_has_a_docstring_with_an_example() -> None:
    assert len(NAMES) > 60
    assert {name: why for name, thing in NAMES.items() if (why := public_names.complaint(thing))} == {}


def test_who_has_none_is_named() -> None:
    class Bare:
        pass

    class HeirError(Exception):
        pass

    def told() -> None:
        """It says what, and shows nothing."""

    assert [public_names.complaint(thing) for thing in (Bare, HeirError)] == ["has no docstring"] * 2
    assert public_names.complaint(told) == "has a docstring without an example (>>>)"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("member")
def test_the_example_runs_as_it_is_written(name: str, known: dict[str, Any]) -> None:
    text = NAMES[name].__doc__ or ""
    example = doctest.DocTestParser().get_doctest(text, dict(known), name, None, None)
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    result = runner.run(example, out=said.append)
    assert not result.failed, "".join(said)
