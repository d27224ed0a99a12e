"""Requests whose path or host no rule may be asked about are answered with HTTP's 400, as gRPC's callers see it."""

from __future__ import annotations

import pytest

from tests.rpc.authorization.enforced import V3
from tests.rpc.frames import RawClient, message
from tests.rpc.script import polite
from tests.rpc.tls.ends import MeshWorld
from tests.rpc.tls.mesh import Mesh
from tests.xds_client.test_decode_listener import HTTP, decoded

GOOD = "/hello.Greeter/SayHello"
DENY = {
    "@type": f"{V3}.rbac.v3.RBAC",
    "rules": {
        "action": "DENY",
        "policies": {
            "admin": {"permissions": [{"url_path": {"path": {"exact": "/admin"}}}], "principals": [{"any": True}]}
        },
    },
}
ROUTER = {"@type": f"{V3}.router.v3.Router"}
INTERNAL, DENIED, DONE = "13", "7", "0"


def listener():
    filters = [{"name": "rbac", "typed_config": DENY}, {"name": "envoy.filters.http.router", "typed_config": ROUTER}]
    manager = HTTP["typed_config"] | {"normalize_path": True, "http_filters": filters}
    return decoded(filter_chains=[{"name": "c", "filters": [{"name": "http", "typed_config": manager}]}])


@pytest.fixture(params=["sync", "aio"])
def address(request):
    world = MeshWorld(request.param)
    yield world.serve_in(Mesh(plaintext=True), listener(), polite)
    world.close()


def asked(address, *, path=GOOD, **hosts):
    client = RawClient(address)
    named = [(":authority" if name == "authority" else name, value) for name, value in hosts.items()]
    head = [(":method", "POST"), (":scheme", "http"), (":path", path), *(one for one in named if one[0] != "host")]
    head += [("te", "trailers"), ("content-type", "application/grpc"), *(one for one in named if one[0] == "host")]
    client.call(message(b""), headers=head)
    answer = client.answer()
    client.close()
    return answer["grpc-status"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (GOOD, DONE),
        ("/admin", DENIED),
        ("/public/..;/admin", DENIED),
        ("/public/..;a=b/admin", DENIED),
        (f"{GOOD}#part", INTERNAL),
        (f"{GOOD}%00", INTERNAL),
        (GOOD[1:], INTERNAL),
        ("admin", INTERNAL),
        ("*", INTERNAL),
        (f"http://shop{GOOD}", INTERNAL),
    ],
)
def test_by_its_path(address, path, status):
    assert asked(address, path=path, authority="shop") == status


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        ({"authority": "shop:80"}, DONE),
        ({"host": "shop"}, DONE),
        ({"authority": "shop", "host": "other"}, DONE),
        ({}, INTERNAL),
        ({"authority": ""}, INTERNAL),
        ({"authority": "shop@evil.org"}, INTERNAL),
        ({"host": "shop/admin"}, INTERNAL),
        ({"authority": "shop", "host": "a@b"}, INTERNAL),
    ],
)
def test_by_its_host(address, hosts, status):
    assert asked(address, **hosts) == status
