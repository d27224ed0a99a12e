"""h2spec, the conformance suite for HTTP/2 servers (RFC 9113's predecessor and HPACK), against ours."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import rpc
from bench.certificates import Authority
from tests.rpc.peers import LoopThread

HERE = Path(__file__).parent
BUILD_SECONDS = 600
# For an answer that has to come. A case that passes does not wait for it.
ANSWER_SECONDS = 20
# h2spec puts five of these into a frame that must be too large for ours, and one or two where they must be taken.
LONG_HEADER = 32_000


@pytest.fixture(scope="module")
def h2spec():
    if shutil.which("go") is None:
        pytest.skip("no 'go' on the PATH: h2spec needs Go 1.26 or newer")
    built = subprocess.run(
        [HERE / "h2spec" / "build"], capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    assert built.returncode == 0, built.stderr
    return HERE.parents[2] / ".build" / "h2spec"


@pytest.fixture(params=["plaintext", "tls"])
def credentials(request):
    if request.param == "plaintext":
        return None
    server = Authority().issue("server")
    return rpc.ssl_server_credentials([(server.key, server.chain)])


@pytest.fixture(params=["sync", "aio"])
def port(request, credentials):
    def listen(server):
        address = "127.0.0.1:0"
        return server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)

    if request.param == "sync":
        server = rpc.server(None)
        number = listen(server)
        server.start()
        yield number
        server.stop(None).wait()
        return
    loop = LoopThread()

    async def start():
        server = rpc.aio.server()
        number = listen(server)
        await server.start()
        return server, number

    server, number = loop.run(start())
    yield number
    loop.run(server.stop(None))
    loop.close()


def test_every_case_passes(h2spec, port, credentials, tmp_path):
    report = tmp_path / "report.xml"
    tls = ["--tls", "--insecure"] if credentials else []
    limits = ["--timeout", str(ANSWER_SECONDS), "--max-header-length", str(LONG_HEADER)]
    said = subprocess.run(
        [h2spec, "--strict", "--port", str(port), "--junit-report", report, *limits, *tls],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    ).stdout
    cases = list(ET.parse(report).iter("testcase"))
    assert len(cases) > 140, said
    wrong = [f"{case.get('package')}: {case.get('classname')}" for case in cases if len(case)]  # failed, skipped
    assert wrong == [], said[said.find("Failures:") :]
