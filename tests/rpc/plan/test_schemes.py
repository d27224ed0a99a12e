"""Schemes of targets: registered in the process, brought by an installed package, replaced and given back."""

from __future__ import annotations

import sys

import pytest

import rpc
from rpc.resolver import InvalidTargetError, schemes
from tests.rpc.registry import Registry, RegistryResolver, named, who

# ---- an entry point


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Put a package with this module and entry point where Python looks for packages."""

    def install(module, point):
        info = tmp_path / "toys-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[proxyless.resolvers]\n{point}\n")
        (tmp_path / "toys_for_a_test.py").write_text(module)
        schemes._installed.cache_clear()

    monkeypatch.syspath_prepend(str(tmp_path))
    yield install
    schemes._installed.cache_clear()
    sys.modules.pop("toys_for_a_test", None)


def test_an_installed_package_brings_a_scheme(installed, our_world):
    installed(
        "from tests.rpc.registry import Registry\nregistry = Registry()\nmake = registry.resolver\n",
        "boxed = toys_for_a_test:make",
    )
    client = our_world.connect("boxed:///cart")
    sys.modules["toys_for_a_test"].registry.set("cart", named(our_world, "one"))
    assert who(client) == "one"


def test_an_installed_package_that_cannot_be_loaded_is_named(installed):
    installed("import nothing_like_it\n", "boxed = toys_for_a_test:make")
    with pytest.raises(InvalidTargetError) as caught:
        rpc.insecure_channel("boxed:///cart")
    for word in ("'boxed:///cart'", "'boxed'", "toys_for_a_test:make of toys", "nothing_like_it", "uninstall"):
        assert word in str(caught.value)


# ---- schemes


@pytest.mark.parametrize("scheme", ["", "Toy", "1toy", "to y", "toy:"])
def test_what_is_no_scheme_is_refused(scheme):
    with pytest.raises(ValueError, match="is no scheme"):
        rpc.resolver.register(scheme, lambda _: None)


def test_an_unknown_scheme_is_answered_with_those_that_are_known_and_how_to_add_it(registry):
    with pytest.raises(InvalidTargetError) as caught:
        rpc.insecure_channel("zookeeper://10.0.0.9/cart")
    for word in ("'zookeeper://10.0.0.9/cart'", "dns:", "toy:", "xds:", "rpc.resolver.register"):
        assert word in str(caught.value)


def test_our_own_schemes_are_replaced_and_given_back(our_world):
    registry = Registry()
    registry.set("10.0.0.1:80", named(our_world, "one"))
    registration = rpc.resolver.register("ipv4", registry.resolver)
    assert who(our_world.connect("ipv4:10.0.0.1:80")) == "one"
    registration.close()
    assert who(our_world.connect(f"ipv4:{named(our_world, 'two')}")) == "two"


def test_what_a_factory_raises_is_raised_and_its_scheme_noted():
    def factory(target):
        raise ConnectionError("no registry")

    registration = rpc.resolver.register("toy", factory)
    with pytest.raises(ConnectionError) as caught:
        rpc.insecure_channel("toy:///cart")
    registration.close()
    assert "'toy:///cart': raised by the resolver of scheme 'toy'" in caught.value.__notes__[0]


def test_a_scheme_that_is_given_back_is_never_unknown():
    kept = rpc.resolver.register("toy", lambda _: RegistryResolver(Registry(), "kept"))
    seen = []

    class Looked(dict):
        def pop(self, *arguments):
            seen.append(arguments)
            return super().pop(*arguments)

    looked = Looked(schemes._registered)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schemes, "_registered", looked)
        rpc.resolver.register("toy", lambda _: None).close()
        assert looked["toy"] is kept
    assert seen == []
    kept.close()


def test_the_endpoint_of_a_target_is_the_same_in_capitals():
    registration = rpc.resolver.register("toy", lambda _: None)
    assert schemes.endpoint_of("TOY:cart") == schemes.endpoint_of("toy:cart") == "cart"
    registration.close()
