"""A push arrives in pieces, clusters first: what it takes away is missed only when the routes had their chance."""

from __future__ import annotations

from tests.xds_client.mesh import REVIEWS_ROUTE, cluster, endpoints, response, route, subset
from xds_client.model import Target
from xds_client.resource_type import ResourceType
from xds_client.session import PATIENCE

CLUSTER, ENDPOINT, ROUTE = ResourceType.CLUSTER, ResourceType.ENDPOINT, ResourceType.ROUTE


def on_v1(wire):
    """What a target on subset v1 is told."""
    news = wire.observe(Target("reviews", 9080))
    wire.open()
    wire.receive(response(CLUSTER, cluster(subset("v1"))))
    wire.receive(response(ROUTE, route(REVIEWS_ROUTE, subset("v1"))))
    wire.receive(response(ENDPOINT, endpoints(subset("v1"), "10.0.0.1")))
    return news


def moved(wire):
    """As before; then a push that has v2 instead of it, of which only the clusters have come."""
    news = on_v1(wire)
    [before] = news
    wire.receive(response(CLUSTER, cluster(subset("v2")), removed=[subset("v1")]))
    assert news == [before], "the routes have not had their chance"
    return news


def errors(config):
    return {c.name: c.error for c in config.clusters}


def test_a_cluster_that_goes_with_its_route_is_never_missed(wire):
    news = moved(wire)
    wire.receive(response(ROUTE, route(REVIEWS_ROUTE, subset("v2"))))
    assert len(news) == 1, "the new configuration is not whole"
    wire.receive(response(ENDPOINT, endpoints(subset("v2"), "10.0.0.2")))
    assert errors(news[1]) == {subset("v2"): None}
    assert len(news) == 2


def test_a_cluster_is_missing_once_the_routes_came_and_still_name_it(wire):
    news = moved(wire)
    wire.receive(response(ROUTE, route(REVIEWS_ROUTE, subset("v1"))))
    assert "is not among them" in errors(news[1])[subset("v1")]


def test_a_cluster_is_missing_when_no_routes_come_for_a_while(wire):
    news = moved(wire)
    wire.pass_time(PATIENCE - 0.1)
    assert len(news) == 1
    wire.pass_time(0.1)
    assert errors(news[1])[subset("v1")] is not None


def test_other_targets_tables_are_no_chance_for_this_one(wire):
    others = wire.observe(Target("ratings", 9080))
    news = moved(wire)
    wire.receive(response(ROUTE, route("ratings.demo.svc.cluster.local:9080"), route("9080")))
    wire.receive(response(ROUTE, route("ratings.demo.svc.cluster.local:9080"), route("9080")))
    assert (len(others), len(news)) == (1, 1)
    wire.receive(response(ROUTE, route(REVIEWS_ROUTE, subset("v1"))))
    assert len(news) == 2


def test_a_control_plane_that_goes_away_before_the_routes_takes_nothing_away(wire):
    news = moved(wire)
    wire.lose()
    wire.pass_time(10 * PATIENCE)
    assert len(news) == 1
    wire.open()
    wire.receive(response(CLUSTER, cluster(subset("v2"))))
    wire.receive(response(ROUTE, route(REVIEWS_ROUTE, subset("v1"))))
    assert errors(news[-1])[subset("v1")] is not None


def test_a_cluster_that_comes_back_before_the_routes_was_never_away(wire):
    news = moved(wire)
    wire.receive(response(CLUSTER, cluster(subset("v1"))))
    wire.receive(response(ENDPOINT, endpoints(subset("v1"), "10.0.0.1")))
    wire.receive(response(ROUTE, route(REVIEWS_ROUTE, subset("v1"))))
    wire.pass_time(PATIENCE)
    assert len(news) == 1


def test_who_observes_anew_while_the_routes_are_awaited_hears_when_they_came(wire):
    news = moved(wire)
    late = wire.observe(Target("reviews.demo.svc.cluster.local", 9080))
    assert late == []
    wire.receive(response(ROUTE, route(REVIEWS_ROUTE, subset("v2"))))
    wire.receive(response(ENDPOINT, endpoints(subset("v2"), "10.0.0.2")))
    assert errors(late[0]) == errors(news[-1]) == {subset("v2"): None}


def test_a_target_that_is_left_is_no_longer_waited_for(wire):
    handle = wire.observe(Target("ratings", 9080), lambda _: None)
    news = moved(wire)
    wire.receive(response(ROUTE, route("ratings.demo.svc.cluster.local:9080", "c9")))
    wire.receive(response(CLUSTER, cluster("c8"), removed=["c9"]))
    handle.close()
    wire.run()
    wire.receive(response(ROUTE, route(REVIEWS_ROUTE, subset("v1"))))
    assert len(news) == 2


def test_routes_that_overtake_many_clusters_wait_for_them(wire):
    """A large response is decoded aside; the routes of the same push are small and read at once."""
    news = on_v1(wire)
    many = [cluster(subset("v1", host=f"service-{n}.demo.svc.cluster.local")) for n in range(1500)]
    push = [
        response(CLUSTER, cluster(subset("v2")), *many, removed=[subset("v1")]),
        response(ROUTE, route(REVIEWS_ROUTE, subset("v2"))),
    ]
    for part in push:
        wire.stream.events.received(part.SerializeToString())
    wire.run()
    wire.receive(response(ENDPOINT, endpoints(subset("v2"), "10.0.0.2")))
    assert [errors(config) for config in news] == [{subset("v1"): None}, {subset("v2"): None}]
