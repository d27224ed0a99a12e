"""What a route asks for and what it gets: paths, headers, fractions, weights, order."""

from __future__ import annotations

import gc
import sys
import threading
import time
import uuid
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyless_native import Pattern
from rpc import pattern as patterns
from rpc.request_head import RequestHead
from rpc.routing import InvalidPatternError, RouteTable, TextTooLongError
from tests.rpc.configs import host, path, route
from xds_client.model import (
    HeaderMatch,
    PresentMatch,
    QueryParameterMatch,
    RangeMatch,
    StringMatch,
    StringMatchKind,
    UnsupportedAction,
)

METHOD = "/demo.Reviews/Get"
NAMES = st.text("abcXYZ./", max_size=6)


def matched(match_route, *metadata, method=METHOD):
    return RouteTable(host(match_route)).route(RequestHead(method, "reviews.demo:9080", metadata)) is not None


def by_path(kind, value, method=METHOD, **fields):
    return matched(route("c", match=path(kind, value, **fields)), method=method)


def by_header(rule, *metadata, name="x-user", **fields):
    return matched(route("c", headers=[HeaderMatch(name, rule, **fields)]), *metadata)


def text(kind, value, **fields):
    return StringMatch(StringMatchKind(kind), value, **fields)


# ---- paths


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("exact", "/demo.Reviews/Get", True),
        ("exact", "/demo.Reviews/Get2", False),
        ("exact", "/demo.reviews/get", False),
        ("prefix", "/demo.Reviews/", True),
        ("prefix", "", True),
        ("prefix", "/", True),
        ("prefix", "/demo.reviews", False),
        ("separated_prefix", "/demo.Reviews", True),
        ("separated_prefix", "/demo.Reviews/Get", True),
        ("separated_prefix", "/demo.Rev", False),
        ("regex", "/demo[.]Reviews/.*", True),
        ("regex", "/demo[.]Reviews", False),  # the whole path must match
    ],
)
def test_a_path_is_matched_by_its_kind(kind, value, expected):
    assert by_path(kind, value) is expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [("exact", "/DEMO.reviews/GET"), ("prefix", "/DEMO."), ("separated_prefix", "/DEMO.REVIEWS"), ("regex", "/DEMO.*")],
)
def test_case_may_be_ignored(kind, value):
    assert by_path(kind, value, case_sensitive=False)
    assert not by_path(kind, value)


@given(NAMES, NAMES)
def test_exact_and_prefix_are_equality_and_startswith(value, asked):
    assert by_path("exact", value, method=asked) is (asked == value)
    assert by_path("prefix", value, method=asked) is (asked.startswith(value) or value == "/")


@given(NAMES, NAMES)
def test_ignoring_case_is_matching_what_is_lowered(value, asked):
    for kind in ("exact", "prefix", "separated_prefix"):
        assert by_path(kind, value, asked, case_sensitive=False) is by_path(kind, value.lower(), asked.lower())


def test_a_pattern_that_is_no_regular_expression_is_refused_by_name():
    with pytest.raises(InvalidPatternError, match=r"'\(' is no regular expression"):
        RouteTable(host(route("c", match=path("regex", "("))))


@pytest.mark.parametrize(("pattern", "size"), [("(a+)+", 27), ("(a+)+", 60_000), (".*a.*b.*c.*", 8_000)])
def test_no_pattern_and_header_take_longer_than_the_header_is_long(pattern, size):
    """Python's `re` takes four seconds for the first, and with 41 signs more than anybody waited."""
    rule = text("regex", pattern)
    assert not by_header(rule, ("x-user", "a" * size + "!"))


def test_other_threads_run_while_a_long_text_is_matched():
    """Counted, not timed: the other thread comes to its turn before the match is over."""
    turns, over = [], threading.Event()

    def count():
        while not over.is_set():
            turns.append(None)
            time.sleep(0)  # gives it up too

    compiled = Pattern("(?:[ab]*a){500}[ab]{500}")
    thread = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # nobody gives up the GIL but of himself
    try:
        thread.start()
        before = len(turns)
        compiled.fullmatch("ab" * 600)
        during = len(turns) - before
    finally:
        over.set()
        sys.setswitchinterval(interval)
        thread.join()
    assert during > 0


def test_a_text_that_is_too_long_for_a_pattern_is_said_to_be():
    with pytest.raises(TextTooLongError, match="65537 bytes are more than the 65536"):
        by_header(text("regex", "a*"), ("x-user", "a" * 65_537))


def many(count, pattern, name="x-user"):
    """A table of so many routes, each with its own pattern."""
    rules = [HeaderMatch(name, text("regex", f"{pattern}{number}")) for number in range(count)]
    return RouteTable(host(*(route("c", name=f"r{number}", headers=[rule]) for number, rule in enumerate(rules))))


@pytest.mark.parametrize(("routes", "values"), [(30, 1), (1, 30), (5, 6)])
def test_the_patterns_of_one_request_cost_no_more_together_than_one_may(routes, values, monkeypatch):
    """On a clock that takes the worst pattern at its price: the second match of a whole budget is not begun."""
    hostile = "(?:[ab]*a){500}[ab]{500}c"
    size = Pattern(f"{hostile}0").size
    now = [0.0]
    monkeypatch.setattr(patterns.time, "thread_time", lambda: now[0])
    table = many(routes, hostile)
    begun, take = [], RequestHead.take

    def counted(head, work):
        take(head, work)
        begun.append(work)
        now[0] += work / (1 << 27) * 0.05

    monkeypatch.setattr(RequestHead, "take", counted)
    head = RequestHead(METHOD, "a", [("x-user", "a" * 600)] * values)
    with pytest.raises(
        TextTooLongError, match=r"route 'r\d' of .*: the path and headers are too long .* left of 50 ms"
    ):
        table.route(head)
    assert 1 < len(begun) == (1 << 27) // (601 * size)


def test_an_ordinary_table_of_patterns_is_routed_by_whatever_its_product(monkeypatch):
    """A hundred patterns of a cookie of 4 KB: ten times the limit, did they cost what the worst do. They do not."""
    asked, real = [], time.thread_time
    monkeypatch.setattr(patterns.time, "thread_time", lambda: asked.append(None) or real())
    table = many(100, ".*;group=(alpha|beta)(;.*)?", "cookie")
    assert table.route(RequestHead(METHOD, "a", [("cookie", "session=0123456789abcdef; " * 160)])) is None
    assert len(asked) > 50  # beyond the product


def test_an_ordinary_table_of_paths_is_inside_the_limit_on_any_machine(monkeypatch):
    """No clock is asked but at the start: length times program alone stays inside."""
    rules = [
        route("c", match=path("regex", f"/demo[.](Reviews|Ratings)/[^/]+/v[0-9]+/{number}")) for number in range(100)
    ]
    asked = []
    monkeypatch.setattr(patterns.time, "thread_time", lambda: asked.append(None) or 0.0)
    assert RouteTable(host(*rules)).route(RequestHead("/demo.Reviews/" + "g" * 186, "a", None)) is None
    assert len(asked) == 1


def test_a_table_without_patterns_asks_no_clock(monkeypatch):
    monkeypatch.setattr(patterns.time, "thread_time", None)
    assert by_header(text("prefix", "a"), ("x-user", "ab"))


def test_what_is_no_text_matches_no_pattern():
    assert not by_header(text("regex", ".*"), ("x-user", "\udcff"))


def test_a_pattern_is_compiled_once_while_it_is_used():
    def table():
        return RouteTable(host(route("c", match=path("regex", "/once/.*"))))

    first = table()
    assert patterns._in_use["/once/.*"] is not None
    compiled = id(patterns._in_use["/once/.*"])
    second = table()
    assert id(patterns._in_use["/once/.*"]) == compiled
    del first, second
    gc.collect()
    assert "/once/.*" not in patterns._in_use


# ---- headers


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("exact", "jason", True),
        ("exact", "jas", False),
        ("prefix", "jas", True),
        ("suffix", "son", True),
        ("contains", "aso", True),
        ("contains", "x", False),
        ("regex", "j.*n", True),
        ("regex", "j", False),
    ],
)
def test_a_header_is_matched_by_its_kind(kind, value, expected):
    assert by_header(text(kind, value), ("x-user", "jason")) is expected
    assert by_header(text(kind, value), ("x-user", "jason"), invert=True) is not expected


def test_a_header_may_be_matched_without_case():
    assert by_header(text("exact", "JASON", ignore_case=True), ("x-user", "Jason"))


def test_present_asks_whether_the_header_is_there():
    assert by_header(PresentMatch(), ("x-user", ""))
    assert not by_header(PresentMatch())
    assert by_header(PresentMatch(present=False))
    assert not by_header(PresentMatch(present=False), ("x-user", "jason"))


def test_present_inverted_asks_whether_the_header_is_not_there():
    assert by_header(PresentMatch(), invert=True)
    assert not by_header(PresentMatch(), ("x-user", "jason"), invert=True)


INT64 = st.integers(-(2**63), 2**63 - 1)  # what a range can say


@given(INT64, INT64, st.integers())
def test_a_range_includes_its_start_and_excludes_its_end(start, end, value):
    assert by_header(RangeMatch(start, end), ("x-user", str(value))) is (start <= value < end)


@pytest.mark.parametrize("value", ["9" * 5000, "-" + "9" * 5000, "1" + "0" * 19])
def test_a_number_that_fits_into_no_range_is_in_none_however_long(value):
    assert not by_header(RangeMatch(-(2**63), 2**63 - 1), ("x-user", value))


def test_leading_zeros_are_no_digits():
    assert by_header(RangeMatch(7, 8), ("x-user", "0" * 5000 + "7"))
    assert by_header(RangeMatch(-7, 8), ("x-user", "-" + "0" * 5000 + "7"))


@pytest.mark.parametrize("value", ["", "-", "one", "1.5", "0x10", "1 ", "\u0661"])
def test_what_is_no_number_is_in_no_range(value):
    assert not by_header(RangeMatch(-(2**62), 2**62), ("x-user", value))


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize(
    "rule", [text("exact", "a"), text("regex", ".*"), RangeMatch(0, 10)], ids=["exact", "regex", "range"]
)
def test_a_missing_header_matches_nothing_inverted_or_not(rule, invert):
    assert not by_header(rule, invert=invert)


def test_a_missing_header_may_be_taken_as_empty():
    assert by_header(text("exact", ""), missing_as_empty=True)
    assert by_header(text("exact", "a"), missing_as_empty=True, invert=True)
    assert not by_header(text("exact", ""), missing_as_empty=True, invert=True)


def test_binary_headers_are_matched_as_they_are_sent():
    there = ("x-user-bin", b"jason!")
    assert by_header(text("exact", "amFzb24h"), there, name="x-user-bin")
    assert by_header(text("exact", "amE"), ("x-user-bin", b"ja"), name="x-user-bin")  # without padding
    assert by_header(PresentMatch(), there, name="x-user-bin")
    assert not by_header(text("exact", "jason!"), there, name="x-user-bin")


# What Envoy 1.40 answered: the header missing, "a", "a" and "b" in two lines.
ENVOY = {
    "exact a": ((text("exact", "a"), {}), (False, True, True)),
    "not a": ((text("exact", "a"), {"invert": True}), (False, False, False)),
    "not a, missing as empty": (
        (text("exact", "a"), {"invert": True, "missing_as_empty": True}),
        (True, False, False),
    ),
    "present": ((PresentMatch(), {}), (False, True, True)),
    "absent": ((PresentMatch(present=False), {}), (True, False, False)),
    "not present": ((PresentMatch(), {"invert": True}), (True, False, False)),
    "not absent": ((PresentMatch(present=False), {"invert": True}), (False, True, True)),
    "present, missing as empty": ((PresentMatch(), {"missing_as_empty": True}), (True, True, True)),
    "absent, missing as empty": ((PresentMatch(present=False), {"missing_as_empty": True}), (False, False, False)),
    "not present, missing as empty": (
        (PresentMatch(), {"invert": True, "missing_as_empty": True}),
        (False, False, False),
    ),
    "joined": ((text("exact", "a,b"), {}), (False, False, False)),
    "empty": ((text("exact", ""), {"missing_as_empty": True}), (True, False, False)),
}


@pytest.mark.parametrize(("match", "expected"), ENVOY.values(), ids=ENVOY.keys())
def test_each_value_of_a_repeated_header_is_matched_on_its_own_and_a_missing_one_as_envoy_does(match, expected):
    rule, fields = match
    requests = [(), (("x-user", "a"),), (("x-user", "a"), ("x-user", "b"))]
    assert tuple(by_header(rule, *request, **fields) for request in requests) == expected


def test_one_line_with_a_comma_is_one_value():
    assert by_header(text("exact", "ann,ben"), ("x-user", "ann,ben"))
    assert not by_header(RangeMatch(1, 5), ("x-user", "3,9"))
    assert by_header(RangeMatch(1, 5), ("x-user", "9"), ("x-user", b"3"))


def test_only_the_case_of_ascii_is_ignored():
    assert by_header(text("exact", "K", ignore_case=True), ("x-user", "k"))
    assert not by_header(text("exact", "K", ignore_case=True), ("x-user", "\u212a"))
    assert by_path("prefix", "/\u00c4A", "/\u00c4aB", case_sensitive=False)
    assert not by_path("prefix", "/\u00c4A", "/\u00e4aB", case_sensitive=False)


def seen(name, metadata=(), **fields):
    return RequestHead(METHOD, "reviews.demo:9080", metadata, **fields).values(name)


def test_routes_see_what_a_sidecar_adds():
    assert seen("x-forwarded-proto") == ["http"]
    assert seen("x-forwarded-proto", [("x-forwarded-proto", "https")]) == ["https"]
    assert seen("x-request-id", [("x-request-id", "mine")]) == ["mine"]
    head = RequestHead(METHOD, "a", None)
    [made] = head.values("x-request-id")
    assert head.values("x-request-id") == [made]
    assert uuid.UUID(made)


def test_routes_see_the_engine_s_own_headers_and_not_what_metadata_says_of_them():
    said = [("user-agent", "mine"), ("grpc-timeout", "1H"), ("content-type", "text/plain"), ("te", "x")]
    assert seen("user-agent", said, user_agent="ours/1") == ["ours/1"]
    assert seen("user-agent", said) == []
    assert seen("content-type", said) == ["application/grpc"]
    assert seen("grpc-timeout", said) == []
    [left] = seen("grpc-timeout", said, deadline=time.monotonic() + 20)
    assert left.endswith("u")
    assert 0 < int(left[:-1]) <= 20_000_000
    assert seen("grpc-timeout", deadline=time.monotonic() + 1e12) == ["99999999H"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (":authority", "reviews.demo:9080"),
        (":method", "POST"),
        (":path", METHOD),
        ("host", "reviews.demo:9080"),
        (":scheme", "http"),
        ("content-type", "application/grpc"),
    ],
)
def test_routes_see_what_the_request_will_say(name, value):
    assert by_header(text("exact", value), name=name)


def test_all_headers_of_a_match_must_match():
    both = route("c", headers=[HeaderMatch("x-a", text("exact", "1")), HeaderMatch("x-b", text("exact", "2"))])
    assert matched(both, ("x-a", "1"), ("x-b", "2"))
    assert not matched(both, ("x-a", "1"))
    assert not matched(both, ("x-a", "1"), ("x-b", "3"))


# ---- which route, which cluster


def test_a_route_that_cannot_be_evaluated_is_passed_over():
    never = route("c", name="n", never="tls_context: is no condition")
    table = RouteTable(host(never, route("all", name="all")))
    assert table.route(RequestHead(METHOD, "a", None)).name == "all"
    assert table.never == {"route 'n' of 'reviews' matches no request: tls_context: is no condition"}


def test_a_virtual_host_that_requires_tls_is_called_by_nobody_who_says_http():
    table = RouteTable(replace(host(route("all", name="all")), require_tls=True))
    assert table.route(RequestHead(METHOD, "a", None)).unsupported == "a redirect to https (require_tls)"
    behind_tls = [("x-forwarded-proto", "https")]
    assert table.route(RequestHead(METHOD, "a", behind_tls)).name == "all"


def test_the_first_route_that_matches_decides():
    table = RouteTable(
        host(
            route("get", match=path("exact", METHOD), name="get"),
            route("user", headers=[HeaderMatch("x-user", PresentMatch())], name="user"),
            route("all", name="all"),
        )
    )
    names = [
        table.route(RequestHead(method, "a", metadata)).name
        for method, metadata in [(METHOD, (("x-user", "1"),)), ("/other", (("x-user", "1"),)), ("/other", None)]
    ]
    assert names == ["get", "user", "all"]


def test_no_route_may_match():
    assert RouteTable(host(route("c", match=path("exact", "/other")))).route(RequestHead(METHOD, "a", None)) is None
    assert RouteTable(host()).route(RequestHead(METHOD, "a", None)) is None


def test_an_unsupported_action_is_kept_by_name():
    table = RouteTable(host(route(action=UnsupportedAction("redirect"))))
    assert table.route(RequestHead(METHOD, "a", None)).unsupported == "redirect"


@pytest.mark.parametrize(("fraction", "expected"), [(0, 0), (1_000_000, 1000)])
def test_a_fraction_of_none_or_all_is_exact(fraction, expected):
    table = RouteTable(host(route("c", fraction=fraction)))
    assert sum(table.route(RequestHead(METHOD, "a", None)) is not None for _ in range(1000)) == expected


def test_a_fraction_takes_about_its_share():
    table = RouteTable(host(route("c", fraction=300_000)))
    share = sum(table.route(RequestHead(METHOD, "a", None)) is not None for _ in range(20_000)) / 20_000
    assert 0.25 < share < 0.35  # fifteen standard deviations


def rolled(compiled):
    """The cluster that one call goes to."""
    return compiled.choices({})[compiled.roll()].pool.name


def test_weights_are_shares_and_zero_is_never():
    compiled = RouteTable(host(route(("a", 80), ("b", 15), ("none", 0), ("c", 5)))).route(
        RequestHead(METHOD, "a", None)
    )
    counts = Counter(rolled(compiled) for _ in range(20_000))
    assert set(counts) == {"a", "b", "c"}
    for name, share in {"a": 0.80, "b": 0.15, "c": 0.05}.items():
        assert abs(counts[name] / 20_000 - share) < 0.03


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5).filter(any))
def test_only_clusters_with_weight_are_picked(weights):
    clusters = [(f"c{i}", weight) for i, weight in enumerate(weights)]
    compiled = RouteTable(host(route(*clusters))).route(RequestHead(METHOD, "a", None))
    assert dict(clusters)[rolled(compiled)] > 0


@pytest.mark.parametrize(
    "match",
    [
        {"query_parameters": (QueryParameterMatch("q"),)},
        {"query_parameters": (QueryParameterMatch("q", PresentMatch(present=False)), QueryParameterMatch("r"))},
        {"connect": True},
    ],
)
def test_routes_that_no_grpc_call_can_take_are_left_out(match):
    impossible = route("c", name="impossible")
    impossible = replace(impossible, match=replace(impossible.match, **match))
    table = RouteTable(host(impossible, route("c", name="last")))
    assert table.route(RequestHead(METHOD, "a", None)).name == "last"
