"""The exchanger over real gRPC: what a user of the package sees."""

from __future__ import annotations

import queue

from tests.xds_client.mesh import REVIEWS_ROUTE, cluster, endpoints, route, subset
from xds_client import Target, TargetConfig

TARGET = Target("reviews", 9080)


def reviews(*addresses):
    return cluster(subset("v1")), endpoints(subset("v1"), *addresses), route(REVIEWS_ROUTE, subset("v1"))


def test_a_target_is_announced_whole(start_server, open_exchanger):
    server = start_server(*reviews("10.0.0.7"))
    news = queue.Queue()
    open_exchanger(server.address).observe_target(TARGET, news.put)
    config = news.get(timeout=10)
    assert isinstance(config, TargetConfig)
    assert config.host == "reviews.demo.svc.cluster.local"
    [only] = config.clusters
    assert only.error is None
    assert only.endpoints.localities[0].endpoints[0].address == "10.0.0.7"
