"""Envoy's choice among virtual hosts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_client.domains import virtual_host_for
from xds_client.model import RouteConfiguration, VirtualHost


def chosen(host, *domains, port=80, ignore_port=True):
    hosts = tuple(VirtualHost(d, (d,), ()) for d in domains)
    found = virtual_host_for(host, port, RouteConfiguration("r", hosts, ignore_port))
    return found.name if found else None


@pytest.mark.parametrize(
    ("host", "domains", "expected"),
    [
        ("a.example.org", ("*", "a.*", "*.example.org", "a.example.org"), "a.example.org"),
        ("a.example.org", ("*", "a.*", "*.example.org"), "*.example.org"),
        ("a.example.org", ("*", "a.*"), "a.*"),
        ("a.example.org", ("*",), "*"),
        ("a.b.example.org", ("*.example.org", "*.b.example.org"), "*.b.example.org"),
        ("a.b.c", ("a.*", "a.b.*"), "a.b.*"),
        ("A.Example.org", ("a.EXAMPLE.org",), "a.EXAMPLE.org"),
        ("example.org", ("*.example.org",), None),
        ("a.", ("a.*",), None),
        ("a", (), None),
    ],
)
def test_exact_then_suffix_then_prefix_then_any_and_the_longest_of_a_kind(host, domains, expected):
    assert chosen(host, *domains) == expected
    assert chosen(host, *reversed(domains)) == expected


def test_ports_count_unless_the_table_says_otherwise():
    assert chosen("a", "a:80", "a:81", ignore_port=False) == "a:80"
    assert chosen("a", "a", ignore_port=False) is None
    assert chosen("a", "a") == "a"


@given(st.text("ab.", min_size=1, max_size=6), st.lists(st.text("ab.*", min_size=1, max_size=4), max_size=5))
def test_a_host_is_never_given_to_a_worse_match(host, domains):
    domains = [d for d in domains if d.count("*") == 0 or (d.count("*") == 1 and (d[0] == "*" or d[-1] == "*"))]
    result = chosen(host, *domains)
    if host in domains:
        assert result == host
    elif result is None:
        assert "*" not in domains
