"""gunicorn with `--preload`: the application's channel is used in the master, inherited, and used in every worker."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
import sys

import pytest

from tests.rpc.mesh import Mesh
from tests.rpc.peers import World
from tests.rpc.programs import ROOT
from tests.rpc.script import PATIENCE, polite

WORKERS, REQUESTS_PER_WORKER, REQUESTS = 3, 20, 200


@contextlib.contextmanager
def gunicorn(environment, *arguments):
    """The port of one that replaces each worker after some requests, as it replaces those that die."""
    command = [sys.executable, "-m", "gunicorn", "--preload", "--bind", "127.0.0.1:0", "--workers", str(WORKERS)]
    command += ["--max-requests", str(REQUESTS_PER_WORKER), *arguments, "tests.rpc.life.prefork_app:app"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            pytest.fail("".join(said))
        yield int(found[1])
        process.terminate()
        _, rest = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, rest
        assert "Traceback" not in rest, rest


def answers(port):
    """Who answered how often; every answer is the right one."""
    workers = {}
    for _ in range(REQUESTS):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("GET", "/")
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        assert response.status == 200, body
        pid, _, said = body.partition(": ")
        assert said.startswith("Hello, from "), body
        workers[pid] = workers.get(pid, 0) + 1
    return workers


@contextlib.contextmanager
def greeter(tmp_path, *, live_mesh):
    """The environment of programs that call somebody who greets, by its address or as members of a mesh."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with contextlib.ExitStack() as ends:
        if live_mesh:
            mesh = Mesh(tmp_path, polite)
            ends.callback(mesh.close)
            mesh.plane.start()
            environment |= mesh.environment | {"GREETER_TARGET": "xds:///reviews.demo:9080"}
        else:
            world = World("sync")
            ends.callback(world.close)
            environment["GREETER_TARGET"] = world.serve(polite)
        yield environment


WORKER_CLASSES = {"sync": [], "threads": ["--worker-class", "gthread", "--threads", "4"]}


@pytest.mark.parametrize("arguments", WORKER_CLASSES.values(), ids=WORKER_CLASSES)
@pytest.mark.parametrize("live_mesh", [False, True], ids=["no mesh", "live mesh"])
def test_every_worker_calls_on_the_channel_of_its_master(tmp_path, live_mesh, arguments):
    with greeter(tmp_path, live_mesh=live_mesh) as environment, gunicorn(environment, *arguments) as port:
        workers = answers(port)
    assert len(workers) > WORKERS, f"no worker was replaced: {workers}"
