"""Clusters whose endpoints are names, as of headless Services, are called over the cluster's own TLS."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.rpc.configs import cluster, config, endpoint
from tests.rpc.tls.certificates import SHOP
from tests.rpc.tls.ends import hello, refused
from tests.rpc.tls.mesh import TARGET, WHO_DIALS, Mesh, rule, strict
from xds_client.model import DiscoveryType


def headless(address, identity, *names):
    """The mesh of a client, whose target is a name: localhost."""
    tls = replace(WHO_DIALS, subject_alt_names=tuple(rule(name) for name in names))
    made = cluster("reviews", endpoint("localhost", int(address.rpartition(":")[2])), tls=tls)
    made = replace(made, cluster=replace(made.cluster, discovery=DiscoveryType.ORIGINAL_DST))
    mesh = Mesh(identity)
    mesh.outbound.set(config(made))
    return mesh


@pytest.fixture
def address(our_world, reviews):
    return our_world.serve_in(Mesh(reviews), strict())


def test_whoever_lets_in_mutual_tls_alone_is_called_so(our_world, address, shop):
    hello(our_world.connect(TARGET, mesh=headless(address, shop)))


def test_who_answers_there_has_to_be_who_the_cluster_says(our_world, address, shop):
    refused(our_world.connect(TARGET, mesh=headless(address, shop, SHOP)), SHOP)
