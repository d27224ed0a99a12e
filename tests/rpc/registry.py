"""A registry in memory, and its resolver: as anybody would write one."""

from __future__ import annotations

import grpc

from rpc.resolver import Endpoint, Pool, Resolved, Resolver, Route, Unresolved
from tests.rpc.script import READ, greet, request


class Registry:
    """Services with their instances; who watches one is told of each change."""

    def __init__(self):
        self._services = {}
        self.watchers = []

    def set(self, service, *instances, routes=(), **pool):
        """``instances``: addresses, of one pool; or pools as they are."""
        pools = [one for one in instances if isinstance(one, Pool)]
        self.tell(service, Resolved(tuple(pools) or (Pool("all", endpoints(*instances), **pool),), tuple(routes)))

    def tell(self, service, news):
        self._services[service] = news
        for watcher in tuple(self.watchers):
            watcher()

    def news(self, service):
        return self._services.get(service) or Unresolved(f"no service {service!r} in the registry")

    def resolver(self, target):
        return RegistryResolver(self, target.endpoint)


class RegistryResolver(Resolver):
    def __init__(self, registry, service):
        self.registry, self.service = registry, service
        self.refreshed = self.resumed = self.closed = 0

    def start(self, observer):
        self._observer = observer
        self.registry.watchers.append(self._changed)
        self._changed()

    def close(self):
        self.closed += 1
        self.registry.watchers.remove(self._changed)

    def refresh(self):
        self.refreshed += 1

    def _changed(self):
        self._observer(self.registry.news(self.service))


def endpoints(*addresses):
    pairs = (address.rpartition(":") for address in addresses)
    return tuple(Endpoint(host, int(port)) for host, _, port in pairs)


def to(*pools, **rule):
    """A route to these pools, by name or by name and weight."""
    return Route(tuple((pool, 1) if isinstance(pool, str) else pool for pool in pools), **rule)


def named(world, name, options=None):
    """A server that greets by this name; its address."""

    def script():
        yield READ
        yield greet(request(name))

    return world.serve(script, options)


def who(client, **how):
    answer = client.call("unary", request(), **how)
    assert answer.code is grpc.StatusCode.OK, answer.details
    return answer.messages[0].removeprefix("Hello, ").removesuffix("!")
