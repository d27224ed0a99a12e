"""Policies that change ten times a second under load: each answer is right for a policy that was in force during it.

``make soak`` says for how long (``--soak-seconds``). The changes come as they do from a control plane: as listeners.
"""

from __future__ import annotations

import itertools
import threading
import time

import grpc
import pytest

import rpc
from examples.hello.hello_pb2_grpc import GreeterStub
from tests.rpc.authorization.enforced import V3, http_filters
from tests.rpc.script import PATIENCE, polite
from tests.rpc.script import request as asked
from tests.rpc.tls.ends import MeshWorld
from tests.rpc.tls.mesh import Mesh, chain, listener

FLIP = 0.1  # seconds between changes
RATE = 500  # calls per second, from so many threads
CALLERS = 8
SIDES = ("left", "right")
ADMITTED, REFUSED = (grpc.StatusCode.OK, ""), (grpc.StatusCode.PERMISSION_DENIED, "RBAC: access denied")


def for_one_side(side):
    """istiod's filter for: ALLOW when request.headers[x-side] is this; and a DENY that concerns nobody."""

    def rbac(action, value):
        header = {"name": "x-side", "string_match": {"exact": value}}
        policy = {"permissions": [{"any": True}], "principals": [{"header": header}]}
        rules = {"action": action, "policies": {f"ns[demo]-policy[{action.lower()}]-rule[0]": policy}}
        return {"@type": f"{V3}.rbac.v3.RBAC", "rules": rules}

    filters = http_filters(denied=rbac("DENY", "nobody"), allowed=rbac("ALLOW", side))
    return listener(chain("plaintext", http_filters=filters))


class History:
    """Which side was let in, and when that was told: a change is in force from its beginning or its end."""

    def __init__(self, side):
        self._changes = [(0.0, 0.0, side)]

    def change(self, side, tell):
        began = time.monotonic()
        self._changes.append((began, float("inf"), side))  # before it is told: somebody may be answered by it at once
        tell()
        self._changes[-1] = (began, time.monotonic(), side)

    def __len__(self):
        return len(self._changes)

    def admitted(self, began, ended):
        """The sides that may have been let in at some time between these."""
        ends = [told for _, told, _ in self._changes[1:]] + [float("inf")]
        return {
            side
            for (changed, _, side), replaced in zip(self._changes, ends, strict=True)
            if changed <= ended and replaced >= began
        }


def call(stub, side):
    began = time.monotonic()
    try:
        stub.SayHello(asked(side), timeout=PATIENCE, metadata=[("x-side", side)])
        answer = ADMITTED
    except grpc.RpcError as error:
        answer = (error.code(), error.details())
    return began, time.monotonic(), side, answer


@pytest.fixture(params=["sync", "aio"])
def world(request):
    world = MeshWorld(request.param)
    yield world
    world.close()


@pytest.mark.timeout(3600)
def test_every_answer_is_right_for_a_policy_in_force(world, request):
    seconds = request.config.getoption("soak_seconds")
    listeners = {side: for_one_side(side) for side in SIDES}
    mesh = Mesh(plaintext=True)
    address = world.serve_in(mesh, listeners[SIDES[0]], polite)
    history, made, over = History(SIDES[0]), [], threading.Event()
    with rpc.insecure_channel(address) as channel:
        stub = GreeterStub(channel)

        def load(number):
            due, sides = time.monotonic() + number / RATE, itertools.cycle(SIDES)
            while not over.wait(max(0.0, due - time.monotonic())):
                made.append(call(stub, next(sides)))
                due = max(due + CALLERS / RATE, time.monotonic() - 1.0)

        stream = world.connect(address).begin("bidi", asked(), timeout=None, metadata=[("x-side", SIDES[0])])
        first = stream.read()
        threads = [threading.Thread(target=load, args=(number,), name=f"load-{number}") for number in range(CALLERS)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        for side in itertools.cycle(reversed(SIDES)):
            if time.monotonic() > end and side == SIDES[1]:
                break
            time.sleep(FLIP)
            history.change(side, lambda side=side: mesh.inbound.set(listeners[side]))
        over.set()
        for thread in threads:
            thread.join()
        stream.write(asked())
        assert stream.read() == first, "a stream that is open stays, whatever the rules are by now"
        stream.cancel()

    wrong, certain = [], 0
    for one in made:
        began, ended, side, answer = one
        admitted = history.admitted(began, ended)
        right = {ADMITTED if side in admitted else REFUSED} | ({REFUSED} if admitted != {side} else set())
        certain += len(right) == 1
        if answer not in right:
            wrong.append(one)
    assert not wrong, f"{len(wrong)} of {len(made)} calls, the first: {wrong[0]}"
    assert len(history) > seconds / FLIP / 4, "there were few changes"
    assert certain > len(made) / 4, "most calls fell into a change: nothing was proven"
