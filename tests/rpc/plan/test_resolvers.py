"""Resolvers that are not ours: a registry with a scheme of its own, an object, an entry point; and what they break."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import weakref

import grpc
import pytest

import rpc
import rpc.aio
from rpc.balancing import Pick
from rpc.choice import Choice
from rpc.resolver import CallTerms, Endpoint, Pool, Resolved, Resolver, RetryPolicy
from rpc.resolver.guarded import Guarded
from tests.rpc.registry import Registry, RegistryResolver, endpoints, named, to, who
from tests.rpc.script import READ, greet, polite, request, stay_until_over
from tests.rpc.tls.ends import until

UNAVAILABLE, OK = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK


# ---- a scheme


def test_instances_of_a_registry_come_and_go(registry, our_world):
    one, two = named(our_world, "one"), named(our_world, "two")
    registry.set("cart", one)
    client = our_world.connect("toy:///cart")
    assert who(client) == "one"
    registry.set("cart", one, two)
    until(lambda: {who(client) for _ in range(4)} == {"one", "two"}, "the second instance is not called")
    registry.set("cart", two)
    assert {who(client) for _ in range(4)} == {"two"}


def test_a_service_that_nobody_provides_fails_calls_with_the_registrys_words_until_somebody_does(registry, our_world):
    client = our_world.connect("toy:///cart")
    answer = client.call("unary", request())
    assert (answer.code, answer.details) == (UNAVAILABLE, "no service 'cart' in the registry")
    waiting = client.begin("server_stream", request(), wait_for_ready=True)
    registry.set("cart", named(our_world, "one"))
    assert waiting.read().message == "Hello, one!"


def test_a_pool_without_instances_is_named(registry, our_world):
    registry.set("cart")
    answer = our_world.connect("toy:///cart").call("unary", request())
    assert answer.code is UNAVAILABLE
    assert "cluster all has no healthy endpoint" in answer.details


def test_routes_choose_among_pools_by_path_header_and_weight(registry, our_world):
    pools = [Pool(name, endpoints(named(our_world, name))) for name in ("one", "two", "three")]
    registry.set(
        "cart",
        *pools,
        routes=[
            to("one", path="/hello.Greeter/ListHellos"),
            to("two", headers=(("x-who", "two"),)),
            to(("one", 0), ("three", 7)),
        ],
    )
    client = our_world.connect("toy:///cart")
    assert client.call("server_stream", request()).messages == ["Hello, one!"]
    assert who(client, metadata=[("x-who", "two")]) == "two"
    assert who(client) == "three"


def test_backups_are_called_while_none_of_those_before_them_can_be(registry, our_world):
    gone, backup = "127.0.0.1:1", named(our_world, "backup")
    registry.set("cart", Pool("all", endpoints(gone), backups=(endpoints(backup),)))
    assert who(our_world.connect("toy:///cart"), wait_for_ready=True) == "backup"


def test_a_route_without_a_match_says_so(registry, our_world):
    registry.set("cart", "127.0.0.1:1", routes=[to("all", prefix="/elsewhere/")])
    answer = our_world.connect("toy:///cart").call("unary", request())
    assert answer.code is UNAVAILABLE
    assert "no route matches /hello.Greeter/SayHello" in answer.details


def test_the_authority_is_the_targets_endpoint(registry, our_world):
    seen = []

    def script():
        yield READ
        yield lambda context: seen.append(dict(context.invocation_metadata()))
        yield greet(request("me"))

    registry.set("cart", our_world.serve(script), routes=[to("all", headers=((":authority", "cart"),))])
    assert who(our_world.connect("toy://server/cart")) == "me"


# ---- terms


def test_a_routes_time_limit_ends_a_call_and_is_named(registry, our_world):
    def never():
        yield stay_until_over(threading.Event())
        yield greet(request("nobody"))

    registry.set("cart", our_world.serve(never), routes=[to("all", name="slow", terms=CallTerms(timeout=0.2))])
    answer = our_world.connect("toy:///cart").call("unary", request())
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "route 'slow' allows 0.2 s" in answer.details


def test_a_routes_retries_are_made(registry, our_world):
    tries = []

    def flaky():
        yield READ
        tries.append(1)
        if len(tries) < 3:
            yield lambda context: context.abort(UNAVAILABLE, "not yet")
        yield greet(request("third"))

    retry = RetryPolicy(3, 0.01, 0.01, 1.0, frozenset({14}))
    registry.set("cart", our_world.serve(flaky), routes=[to("all", terms=CallTerms(retry=retry))])
    assert who(our_world.connect("toy:///cart")) == "third"
    tries.clear()
    registry.set("cart", our_world.serve(flaky))
    answer = our_world.connect("toy:///cart").call("unary", request())
    assert (answer.code, len(tries)) == (UNAVAILABLE, 1)


def test_a_route_lets_calls_wait_for_ready(registry, our_world):
    address = named(our_world, "one")
    registry.set("cart", routes=[to("all", terms=CallTerms(wait_for_ready=True))])
    client = our_world.connect("toy:///cart")
    waiting = client.begin("server_stream", request())
    registry.set("cart", address, routes=[to("all")])
    assert waiting.read().message == "Hello, one!"


# ---- an object


def test_a_resolver_is_given_as_an_object(our_world):
    registry = Registry()
    registry.set("cart", named(our_world, "one"))
    resolver = RegistryResolver(registry, "cart")
    client = our_world.connect("whatever", resolver=resolver)
    assert who(client) == "one"
    client.close()
    assert resolver.closed == 1
    assert registry.watchers == []


def test_a_channel_that_is_dropped_closes_its_resolver():
    registry = Registry()
    resolver = RegistryResolver(registry, "cart")
    channel = rpc.insecure_channel("whatever", resolver=resolver)
    alive = weakref.ref(channel)
    del channel
    until(lambda: gc.collect() >= 0 and alive() is None and resolver.closed == 1, "it is not closed")


@pytest.mark.parametrize("make", [rpc.insecure_channel, rpc.aio.insecure_channel], ids=["sync", "aio"])
@pytest.mark.parametrize("wrong", ["cart", RegistryResolver], ids=["a text", "a class"])
def test_what_is_no_resolver_is_refused(make, wrong):
    with pytest.raises(TypeError, match=r"inherit from rpc\.resolver\.Resolver"):
        make("whatever", resolver=wrong)


def test_code_chooses_in_place_of_routes(our_world):
    class ByUser:
        """Anybody's rule language."""

        def bind(self, pools):
            return lambda head: Choice(pools["two" if ("x-user", "two") in (head.metadata or ()) else "one"])

    class Coded(Resolver):
        def start(self, observer):
            observer(Resolved(tuple(pools), rules=ByUser()))

        def close(self):
            pass

    pools = [Pool(name, endpoints(named(our_world, name))) for name in ("one", "two")]
    client = our_world.connect("whatever", resolver=Coded())
    assert who(client) == "one"
    assert who(client, metadata=(("x-user", "two"),)) == "two"


# ---- what resolvers break

NONSENSE = {
    "None": (None, "rpc.resolver.Resolved"),
    "no pool": (Resolved(()), "it has no pool"),
    "two of one name": (Resolved((Pool("a", ()), Pool("a", ()))), "one name"),
    "a route to nowhere": (Resolved((Pool("a", ()),), (to("b"),)), "no such pool"),
    "a route of no weight": (Resolved((Pool("a", ()),), (to(("a", 0)),)), "weight over 0"),
    "a weight that is none": (Resolved((Pool("a", ()),), (to(("a", "1")),)), "weight over 0"),
    "pools that are none": (Resolved((object(),)), "AttributeError"),
}


@pytest.mark.parametrize("news", NONSENSE)
def test_nonsense_is_told_of_and_the_last_good_news_stay(registry, our_world, caplog, news):
    registry.set("cart", named(our_world, "one"))
    client = our_world.connect("toy:///cart")
    assert who(client) == "one"
    nonsense, why = NONSENSE[news]
    registry.tell("cart", nonsense) if nonsense is not None else registry.watchers[0].__self__._observer(None)
    assert who(client) == "one"
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert any("toy:///cart" in text and why in text for text in told), told


def test_endpoints_that_make_no_sense_are_left_out_by_name(registry, our_world, caplog):
    good = endpoints(named(our_world, "one"))
    bad = (Endpoint("10.0.0.1", 70000), Endpoint("10.0.0.2", 0), Endpoint("10.0.0.3", 80, weight=0), Endpoint("", 1), 7)
    registry.tell("cart", Resolved((Pool("all", (*bad, *good)),)))
    client = our_world.connect("toy:///cart")
    assert {who(client) for _ in range(5)} == {"one"}
    for word in (
        "70000 is no port",
        "10.0.0.2: 0 is no port",
        "10.0.0.3:80: 0 is no weight",
        "'' is no address",
        "7 is",
    ):
        assert word in caplog.text
    registry.tell("cart", Resolved((Pool("all", bad),)))
    answer = client.call("unary", request())
    assert answer.code is UNAVAILABLE
    assert "none of its endpoints makes sense: 10.0.0.1: 70000 is no port" in answer.details


def test_a_policy_that_nobody_registered_fails_its_pools_calls_only(registry, our_world):
    pools = [Pool("odd", endpoints("127.0.0.1:1"), balancing="odd"), Pool("good", endpoints(named(our_world, "one")))]
    registry.set("cart", *pools, routes=[to("odd", headers=(("x-odd", "1"),)), to("good")])
    client = our_world.connect("toy:///cart")
    assert who(client) == "one"
    answer = client.call("unary", request(), metadata=[("x-odd", "1")])
    assert answer.code is UNAVAILABLE
    assert "balancing policy 'odd' is not registered (rpc.balancing.register); known are pick_first" in answer.details


class Raising(RegistryResolver):
    """Each of its methods raises, but for the first."""

    def refresh(self):
        self.refreshed += 1
        raise OSError("refresh")

    def resume(self):
        raise OSError("resume")

    def waiting_for(self):
        raise OSError("waiting_for")

    def close(self):
        super().close()
        raise OSError("close")


def test_a_resolver_whose_methods_raise_loses_nothing(our_world, caplog):
    registry = Registry()
    server, port = our_world.start_server(polite)
    registry.set("cart", f"127.0.0.1:{port}")
    resolver = Raising(registry, "cart")
    client = our_world.connect("whatever", resolver=resolver)
    assert client.call("unary", request("Ann")).messages == ["Hello, Ann!"]
    our_world.stop(server)
    until(lambda: resolver.refreshed, "it was not told that a connection is lost")
    registry.set("cart", named(our_world, "one"))
    assert who(client, wait_for_ready=True) == "one"
    client.close()
    until(lambda: "close() of its resolver" in caplog.text, "the log does not name it")
    assert "refresh() of its resolver" in caplog.text


def test_until_something_is_told_calls_say_what_is_missing(our_world):
    class Silent(Resolver):
        def start(self, observer):
            self.observer = observer

        def close(self):
            pass

    resolver = Silent()
    client = our_world.connect("whatever", resolver=resolver)
    answer = client.call("unary", request(), timeout=0.2)
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "no configuration yet: its resolver has told nothing yet" in answer.details
    resolver.observer(Resolved(()))
    assert "what was told is not used" in client.call("unary", request(), timeout=0.2).details


def test_what_start_raises_is_raised_and_its_target_noted():
    class Broken(Resolver):
        def start(self, observer):
            raise ConnectionError("no registry")

        def close(self):
            pass

    with pytest.raises(ConnectionError) as caught:
        rpc.insecure_channel("whatever", resolver=Broken())
    assert "'whatever': raised by its resolver" in caught.value.__notes__[0]


def test_news_that_many_threads_tell_are_used_one_by_one_and_a_last_one_stays(our_world):
    registry = Registry()
    resolver = RegistryResolver(registry, "cart")
    client = our_world.connect("whatever", resolver=resolver)

    def tell(start):
        for number in range(50):
            registry.set("cart", f"127.0.0.1:{start + number + 1}")

    threads = [threading.Thread(target=tell, args=(1000 * start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    registry.set("cart", named(our_world, "one"))
    assert who(client) == "one"


# ---- balancing


def test_a_balancing_policy_is_registered_by_name(registry, our_world):
    class Last:
        def __init__(self, ready):
            self._pick = Pick(max(ready, key=lambda endpoint: endpoint.config.port))

        def pick(self, head):
            return self._pick

    servers = {named(our_world, name): name for name in "ab"}
    *_, last = addresses = sorted(servers, key=lambda address: int(address.split(":")[1]))
    with contextlib.closing(rpc.balancing.register("last", Last)):
        with pytest.raises(ValueError, match="is there already"):
            rpc.balancing.register("last", Last)
        registry.set("cart", *addresses, balancing="last")
        client = our_world.connect("toy:///cart")
        until(lambda: who(client) == servers[last], "the last is not picked")
        registry.set("cart", last, balancing="last")
        assert who(client) == servers[last]
        listed = our_world.connect(f"ipv4:{','.join(addresses)}", [("grpc.lb_policy_name", "last")])
        until(lambda: {who(listed) for _ in range(5)} == {servers[last]}, "the option does not know it")


@pytest.mark.parametrize("name", ["round_robin", "pick_first", "random"])
def test_a_policy_that_is_there_is_not_replaced(name):
    with pytest.raises(ValueError, match="is there already"):
        rpc.balancing.register(name, lambda endpoints: None)


@pytest.mark.parametrize("kind", ["unary", "server_stream"])
def test_what_a_balancing_policy_raises_fails_its_calls_by_name_in_both_worlds(registry, our_world, kind):
    class Raises:
        def __init__(self, endpoints):
            del endpoints

        def pick(self, head):
            raise ZeroDivisionError(head.path)

    registration = rpc.balancing.register("raises", Raises)
    registry.set("shop", our_world.serve(polite), balancing="raises")
    answer = our_world.connect("toy:///shop").call(kind, request())
    assert answer.code is grpc.StatusCode.INTERNAL
    assert "its balancing policy failed: ZeroDivisionError" in answer.details
    registration.close()


def test_a_registration_that_is_closed_twice_takes_no_other_away():
    first = rpc.balancing.register("mine", lambda endpoints: endpoints)
    first.close()
    second = rpc.balancing.register("mine", lambda endpoints: endpoints)
    first.close()
    with pytest.raises(ValueError, match="is there already"):
        rpc.balancing.register("mine", lambda endpoints: endpoints)
    second.close()


def test_news_come_through_in_a_child_whose_parent_was_at_using_others():
    used, at_it, stay = [], threading.Event(), threading.Event()

    class Said(Resolver):
        def start(self, observer):
            self.observer = observer

        def close(self):
            pass

    def use(news):
        at_it.set()
        if news == "the parent's":
            stay.wait()
        used.append(news)

    resolver = Said()
    guarded = Guarded(resolver, "toy:///shop")
    guarded.start(use)
    thread = threading.Thread(target=resolver.observer, args=("the parent's",))
    thread.start()
    at_it.wait()
    guarded.inherit()  # as in a child, where that thread is not
    resolver.observer("the child's")
    assert used == ["the child's"]
    stay.set()
    thread.join()
