"""What a caller may write, and which names it may mean."""

from __future__ import annotations

import pytest

from xds_client.model import InvalidTargetError, Target


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("xds:///reviews:9080", "reviews", 9080),
        ("Reviews.Demo:1", "reviews.demo", 1),
        ("xds:///api.example.org:65535", "api.example.org", 65535),
    ],
)
def test_targets(text, host, port):
    target = Target.parse(text)
    assert (target.host, target.port) == (host, port)
    assert str(target) == f"{host}:{port}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("reviews", "needs a port"),
        (":1", "needs a port"),
        ("xds:///reviews:0", "not a port"),
        ("xds:///reviews:65536", "not a port"),
        ("xds:///reviews:http", "not a port"),
        ("xds://authority/reviews:1", "without an authority"),
        ("dns:///reviews:1", "without an authority"),
        ("a b:1", "not a host name"),
        ("outbound|1||a:1", "not a host name"),
    ],
)
def test_what_is_no_target_is_named(text, reason):
    with pytest.raises(InvalidTargetError, match=reason) as raised:
        Target.parse(text)
    assert repr(text) in str(raised.value)


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("reviews", ["reviews.demo.svc.mesh.test"]),
        ("reviews.other", ["reviews.other.svc.mesh.test", "reviews.other"]),
        ("reviews.other.svc", ["reviews.other.svc.mesh.test"]),
        ("reviews.other.svc.mesh.test", ["reviews.other.svc.mesh.test"]),
        ("api.example.org", ["api.example.org"]),
        ("example.org.", ["example.org"]),
    ],
)
def test_candidates(host, names):
    assert list(Target(host, 1).candidates("demo", "mesh.test")) == names
