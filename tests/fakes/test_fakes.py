"""Fakes have the names and the parameters of what they stand for, and the engine's stub those of the engine."""

from __future__ import annotations

from pathlib import Path

import pytest

import rpc
from rpc import _native
from rpc.balancing.endpoint import Picker
from tests.fakes.signatures import of_class, of_object, of_stub
from tests.rpc.plan.test_picks_end import Told
from tests.rpc.tls.mesh import Mesh, Source
from tests.rpc.transports import FakeClientTransport
from tests.xds_client.wire import FakeStream, FakeTransport
from xds_client import Bootstrap, Node, PilotExchanger
from xds_client.identity.source import IdentitySource
from xds_client.transport import AdsStream, AdsTransport

STUB = of_stub(Path(rpc.__file__).with_name("_native.pyi"))


def of_exchanger():
    bootstrap = Bootstrap(Node(ip="10.0.0.1", pod="shop", namespace="demo"), "127.0.0.1:1", "plaintext")
    with PilotExchanger(bootstrap) as exchanger:
        return of_object(exchanger)


# A fake as tests use it, what it stands for, and the names by which the test itself moves it or looks at it.
FAKES = {
    "a transport": (FakeClientTransport(), lambda: STUB["ClientTransport"], {"streams", "said"}),
    "a stream to the control plane": (FakeStream(None, []), lambda: of_class(AdsStream), {"events", "log"}),
    "the way to the control plane": (FakeTransport([]), lambda: of_class(AdsTransport), {"log", "streams"}),
    "an exchanger": (Mesh(), of_exchanger, {"inbound", "outbound", "dials"}),
    "identities": (Source(), lambda: of_class(IdentitySource), {"set", "expire"}),
    "a picker": (Told().picker([]), lambda: of_class(Picker), set()),
}


@pytest.mark.parametrize("name", FAKES)
def test_a_fake_has_the_names_and_parameters_of_what_it_stands_for(name):
    fake, stands_for, of_the_test = FAKES[name]
    real = stands_for()
    pretended = {name: how for name, how in of_object(fake).items() if name not in of_the_test}
    assert pretended
    assert pretended == {name: real.get(name, "there is no such name") for name in pretended}


@pytest.mark.parametrize("name", STUB)
def test_the_stub_of_the_engine_is_the_engine(name):
    assert STUB[name] == of_class(getattr(_native, name))
