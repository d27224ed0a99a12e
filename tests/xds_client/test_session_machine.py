"""Any order of wanting, answering, losing and waiting, held against what istiod would make of the requests."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.xds_client.mesh import cluster, endpoints, response, route, with_garbage
from xds_client import Node
from xds_client.resource_type import WILDCARD, ResourceType
from xds_client.session import PATIENCE, DeltaSession

NODE = Node(ip="10.0.0.1", pod="shop", namespace="demo")
BUILD = {ResourceType.CLUSTER: cluster, ResourceType.ENDPOINT: endpoints, ResourceType.ROUTE: route}
NAMES = st.frozensets(st.sampled_from("abcd"))


class Istiod:
    """One stream's other end, as pilot/pkg/xds/delta.go reads requests; asserts that it would complain of none."""

    def __init__(self):
        self.subscribed = {}
        self.nonces = {}
        self.count = 0

    def hear(self, request):
        assert (request.node is not None) == (self.count == 0), "the node goes into the first request only"
        self.count += 1
        if request.nonce:
            assert request.nonce == self.nonces[request.kind], "a stale nonce is ignored"
            names = (*request.subscribe, *request.unsubscribe, *request.initial_versions)
            assert names == (), "names in an ACK are an error, in a NACK they are dropped for ever"
            return
        assert not request.error, "names in a NACK are dropped for ever"
        if request.kind not in self.subscribed:
            assert request.subscribe, "a first request without names is a wildcard"
        names = self.subscribed.setdefault(request.kind, set())
        before = set(names)
        names |= set(request.subscribe)
        if WILDCARD not in names:
            names |= {name for name, _ in request.initial_versions}
        names -= set(request.unsubscribe)
        assert names != before, "a change that changes nothing is an error in istiod's eyes"


class SessionMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.session = DeltaSession(NODE)
        self.now = 0.0
        self.wanted = {}
        self.held = {kind: set() for kind in BUILD}
        self.istiod = None
        self.on_wire = False
        self.asked_at = {}

    def unanswered(self, kind, name):
        return not self.held[kind] if name == WILDCARD else name not in self.held[kind]

    def hear(self, requests):
        for request in requests:
            self.istiod.hear(request)

    @precondition(lambda self: self.istiod is None)
    @rule()
    def open(self):
        self.istiod = Istiod()
        self.on_wire = False
        self.hear(self.session.open())

    @precondition(lambda self: self.istiod and not self.on_wire)
    @rule()
    def reach_the_wire(self):
        self.on_wire = True
        self.session.on_wire(self.now)
        self.asked_at = {(k, n): self.now for k, names in self.wanted.items() for n in names if self.unanswered(k, n)}

    @precondition(lambda self: self.istiod)
    @rule()
    def lose(self):
        self.session.close()
        self.istiod = None
        self.on_wire = False
        self.asked_at = {}

    @rule(clusters=st.booleans(), eds=NAMES, rds=NAMES)
    def want(self, clusters, eds, rds):
        before = self.wanted
        all_of_them = frozenset({WILDCARD}) if clusters else frozenset()
        self.wanted = {ResourceType.CLUSTER: all_of_them, ResourceType.ENDPOINT: eds, ResourceType.ROUTE: rds}
        requests = self.session.want(self.wanted, self.now)
        for kind, names in self.wanted.items():
            if WILDCARD not in names:
                self.held[kind] &= names
        self.asked_at = {(k, n): t for (k, n), t in self.asked_at.items() if n in self.wanted[k]}
        if self.istiod is None:
            assert requests == []
            return
        self.hear(requests)
        for kind, names in self.wanted.items() if self.on_wire else ():
            for name in names - before.get(kind, frozenset()):
                if self.unanswered(kind, name):
                    self.asked_at[kind, name] = self.now

    @precondition(lambda self: self.wanted.get(ResourceType.ROUTE))
    @rule()
    def ask_again(self):
        name = min(self.wanted[ResourceType.ROUTE])
        self.hear(self.session.ask_again(ResourceType.ROUTE, [name], self.now))
        self.held[ResourceType.ROUTE].discard(name)
        if self.on_wire:
            self.asked_at[ResourceType.ROUTE, name] = self.now

    @precondition(lambda self: self.istiod and self.on_wire and self.istiod.subscribed)
    @rule(data=st.data(), good=NAMES, bad=NAMES, removed=NAMES)
    def receive(self, data, good, bad, removed):
        kind = data.draw(st.sampled_from(sorted(self.istiod.subscribed, key=str)))
        bad, removed = bad - good, removed - good - bad
        nonce = self.istiod.nonces[kind] = f"nonce-{self.istiod.count}-{self.now}"
        answer = response(kind, *(BUILD[kind](n) for n in sorted(good)), nonce=nonce, removed=sorted(removed))
        for name in sorted(bad):
            with_garbage(answer, name)
        update = self.session.receive(answer.SerializeToString(), self.now)
        asked = self.wanted.get(kind, frozenset())
        ours = set("abcd") if WILDCARD in asked else asked
        assert set(update.accepted) == good & ours
        assert {error.name for error in update.rejected} == bad & ours
        assert set(update.removed) == removed & ours
        self.held[kind] = (self.held[kind] | (good & ours)) - (removed & ours)
        for name in (good | bad | removed) & ours | {WILDCARD}:
            self.asked_at.pop((kind, name), None)
        reply = self.session.reply(update)
        assert bool(reply.error) == bool(bad & ours)
        self.hear([reply])

    @rule(seconds=st.sampled_from([0.5, 5.0, PATIENCE]))
    def wait(self, seconds):
        self.now += seconds
        expired = {(u.kind, name) for u in self.session.expire(self.now) for name in u.removed}
        due = {key for key, asked_at in self.asked_at.items() if asked_at + PATIENCE <= self.now}
        assert expired == due
        for key in due:
            del self.asked_at[key]

    @invariant()
    def istiod_has_exactly_what_is_wanted(self):
        if self.istiod:
            subscribed = {k: frozenset(names) for k, names in self.istiod.subscribed.items() if names}
            assert subscribed == {k: names for k, names in self.wanted.items() if names}

    @invariant()
    def the_timer_is_that_of_the_oldest_unanswered_name(self):
        oldest = min(self.asked_at.values(), default=None)
        assert self.session.next_expiry() == (None if oldest is None else oldest + PATIENCE)


SessionMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30)
TestSession = SessionMachine.TestCase
