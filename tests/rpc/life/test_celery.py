"""Celery's prefork pool: the worker's channel is used before its processes are forked, inherited, and used by tasks."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest

from tests.rpc.life.test_prefork import greeter
from tests.rpc.programs import ROOT, ended, python
from tests.rpc.script import PATIENCE

PROCESSES, TASKS_PER_PROCESS, TASKS = 3, 5, 40

# Whoever wants things done has a process of its own: it imports the application, too. Its words: who did each task.
CUSTOMER = f"""
    import os, warnings
    warnings.simplefilter("default")  # Celery's and kombu's are no matter of ours
    from tests.rpc.life.celery_app import greet

    asked = [greet.delay(f"task {{number}}") for number in range({TASKS})]
    for number, one in enumerate(asked):
        pid, loaded_by, said = one.get(timeout={2 * PATIENCE}, interval=0.02)
        assert said == [f"Hello, task {{number}}!"] * 2, said
        assert loaded_by not in (pid, os.getpid()), "the application was loaded after the fork"
        print(pid, flush=True)
"""


@contextlib.contextmanager
def worker(environment):
    """One whose pool has some processes, each replaced after some tasks."""
    command = [sys.executable, "-m", "celery", "--app", "tests.rpc.life.celery_app", "worker", "--pool", "prefork"]
    command += ["--concurrency", str(PROCESSES), "--max-tasks-per-child", str(TASKS_PER_PROCESS)]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                _, said = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert process.returncode == 0, said
        assert "Traceback" not in said, said


@pytest.mark.parametrize("live_mesh", [False, True], ids=["no mesh", "live mesh"])
def test_tasks_call_on_the_channel_of_their_worker(tmp_path, live_mesh):
    mesh, files = tmp_path / "mesh", tmp_path / "celery"
    mesh.mkdir()
    for folder in ("queue", "control", "results"):
        (files / folder).mkdir(parents=True)
    with greeter(mesh, live_mesh=live_mesh) as environment:
        environment["CELERY_FOLDER"] = str(files)
        with worker(environment):
            code, processes, err = ended(python(CUSTOMER, environment=environment))
    assert (code, len(processes)) == (0, TASKS), err
    assert len(set(processes)) > PROCESSES, f"no process was replaced: {set(processes)}"
