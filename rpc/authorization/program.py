"""The HTTP filters of a chain as one question, compiled once per configuration.

A kind of filter says what it makes of one by `carries_out`: a function from the filter's value (`xds_client.model`) to
its `Step`, or None where it has nothing to ask. What it cannot carry out it says by `CannotCarryOutError`; the chain is
closed then, so nothing fails open. Steps are asked in the order of the chain, the first that refuses has the last word.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias, TypeVar, runtime_checkable

from rpc._native import Managed
from rpc.authorization import events
from rpc.authorization.decision import Refusal
from rpc.authorization.request import Request
from xds_client.model import FilterOverride

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rpc.authorization.decision import Authorize, Decision, Head
    from xds_client import PilotExchanger
    from xds_client.model import ConnectionManager, Filter


T = TypeVar("T")
S = TypeVar("S")


class CannotCarryOutError(Exception):
    """``invalid``: Envoy would refuse it, too, and go on with the configuration that it has. Else it would obey it, and
    this release does not know how.
    """

    def __init__(self, why: str, *, invalid: bool = False) -> None:
        super().__init__(why)
        self.invalid = invalid


class Step(Protocol):
    """What one filter demands of a request: None (go on), a `Refusal`, or a future of these.

    Asked on the thread or in the loop that reads the connections: it never waits. What takes time answers with a
    `concurrent.futures.Future`, which any thread may settle; it is cancelled when the call is over before. What a step
    raises, and what its future fails with, refuses the call with PERMISSION_DENIED; the log says why.
    """

    def __call__(self, request: Request, /) -> Decision: ...


@runtime_checkable
class Joins(Protocol):
    """A step that is asked without anything made for it, by itself or together with those before it."""

    authorize: Authorize

    def __call__(self, request: Request, /) -> Decision: ...

    def after(self, before: Step, /) -> Step | None:
        """One step of this and the one before it; None: that cannot be."""


class Treated:
    """The first step of a program: paths and hosts become what the chain's connection manager makes of them, so that no
    filter decides by another path than handlers are found by, and ``x-forwarded-client-cert`` goes that a caller made
    up.
    """

    def __init__(self, manager: ConnectionManager) -> None:
        self.managed = managed(manager)

    def authorize(self, head: Head) -> Refusal | None:
        answered = self.managed.treat(head)
        return None if answered is None else answered_by_manager(head, answered)

    def __call__(self, request: Request) -> Refusal | None:
        return self.authorize(request.head)

    def after(self, before: Step) -> None:
        """Before it there is none."""


def managed(manager: ConnectionManager | None) -> Managed:
    """What a connection manager does to requests before its filters look."""
    if manager is None:
        return Managed()
    try:
        return Managed(
            normalize_path=bool(manager.normalize_path),
            merge_slashes=manager.merge_slashes,
            escaped_slashes=manager.path_with_escaped_slashes_action,
            strip_any_port=bool(manager.strip_any_host_port),
            strip_matching_port=manager.strip_matching_host_port,
            strip_trailing_dot=manager.strip_trailing_host_dot,
            use_remote_address=bool(manager.use_remote_address),
            trusted_hops=manager.xff_num_trusted_hops,
            forward_client_cert=manager.forward_client_cert_details,
        )
    except ValueError as error:  # a word that is none
        raise CannotCarryOutError(f"its connection manager: {error}") from error


# HTTP's 400 and 307 as gRPC's callers see them (grpc/doc/http-grpc-status-mapping.md), with Envoy's response details.
_ANSWERED = {
    "bad_request": Refusal(13, "", why="path_normalization_failed"),
    "redirect": Refusal(2, "", why="path_normalization_failed"),
}


def answered_by_manager(head: Head, what: str) -> Refusal:
    """A path that no filter may see."""
    refusal = _ANSWERED[what]
    events.tell(events.What.DENIED, head, "", refusal.why)
    return refusal


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a filter may need to know beside its own value."""

    name: str  # of the filter, in the chain
    manager: ConnectionManager | None = None  # of its chain
    mesh: PilotExchanger | None = None  # whose clusters it may call; None: the process's


Compile: TypeAlias = "Callable[[Any, Surroundings], Step | None]"
_KINDS: dict[str, tuple[type, Compile]] = {}


def carries_out(type_name: str, model: type, compiled: Compile) -> None:
    """From now on filters of this type (their message's full name) are carried out: ``compiled(value, surroundings)``
    makes a step of one, whose value is a ``model``.
    """
    _KINDS[type_name] = (model, compiled)


_ROUTES: list[Callable[[ConnectionManager], Step | None]] = []


def routes_by(compiled: Callable[[ConnectionManager], Step | None]) -> None:
    """From now on this makes the last step of each chain: of what its routes do with requests besides."""
    _ROUTES[:] = [compiled]


def is_carried_out(type_name: str) -> bool:
    return type_name in _KINDS


def compile_filters(
    filters: Sequence[Filter], manager: ConnectionManager | None, mesh: PilotExchanger | None = None
) -> Authorize | None:
    """What a chain's connection manager and HTTP filters demand; None: there are none. ``mesh``: whose clusters they
    may call.

    Filters of types that nobody has registered are passed over, `rpc.authorization.filters` says which it may have.
    Raises `CannotCarryOutError`.
    """
    steps: list[Step] = []
    for found in filters:
        if found.disabled and (manager is not None and _is_switched_on(found.name, manager)):
            raise CannotCarryOutError(f"{found.name} ({found.type}): only some routes have it")
        if found.type in _KINDS and not found.disabled:
            model, compiled = _KINDS[found.type]
            around = Surroundings(found.name, manager, mesh)
            step = compile_filter(found, model, _around(compiled, around))
            if step is not None:
                steps.append(step)
    if manager is not None:
        steps += [step for compiled in _ROUTES if (step := compiled(manager)) is not None]
        steps.insert(0, Treated(manager))
    return joined(steps) if steps else None


def joined(steps: Sequence[Step]) -> Authorize:
    """One question of them all: neighbours that can be asked at once are, and one that is alone needs no request."""
    left: list[Step] = []
    for step in steps:
        together = step.after(left[-1]) if left and isinstance(step, Joins) else None
        if together is None:
            left.append(step)
        else:
            left[-1] = together
    [first, *more] = left
    return first.authorize if not more and isinstance(first, Joins) else Program(left)


def _around(compiled: Compile, around: Surroundings) -> Callable[[Any], Step | None]:
    return lambda said: compiled(said, around)


def compile_filter(found: Filter, model: type[T], compiled: Callable[[T], S]) -> S:
    """What ``compiled`` makes of the filter's value, a ``model``. Raises `CannotCarryOutError` by the filter's name."""
    value = found.config
    try:
        return compiled(value) if isinstance(value, model) else _refused(value)
    except CannotCarryOutError as error:
        raise CannotCarryOutError(f"{found.name} ({found.type}): {error}", invalid=error.invalid) from error


def _refused(value: object) -> NoReturn:
    problem = getattr(value, "problem", "") or "it is empty"
    raise CannotCarryOutError(problem, invalid=getattr(value, "malformed", False))


def _is_switched_on(name: str, manager: ConnectionManager) -> bool:
    said = manager.routes.said_to_filters() if manager.routes is not None else ()
    return any(of == name and not (isinstance(value, FilterOverride) and value.disabled) for of, value in said)


class Program:
    """Steps, one after the other. Stateless: what goes on with one call is `_Going`."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = tuple(steps)

    def __call__(self, head: Head) -> Decision:
        request = Request(head)
        for number, step in enumerate(self.steps):
            decision = step(request)
            if isinstance(decision, Future):
                return _Going(self.steps[number + 1 :], request).after(decision)
            if decision is not None:
                _tell(step, request, decision)
                return decision
        return None


def _tell(step: Step | None, request: Request, refusal: Refusal) -> None:
    """RBAC, and what the connection manager answers, have told of themselves. ``step`` None: it took its time."""
    if not isinstance(step, Joins | Treated) and isinstance(refusal, Refusal):
        events.tell(events.What.DENIED, request.head, refusal.policy, refusal.why)


class _Going(Future["Refusal | None"]):
    """A call of which a step decides later: it is cancelled when the call is over, and then holds nothing any more."""

    def __init__(self, steps: Sequence[Step], request: Request) -> None:
        super().__init__()
        self._left: list[tuple[Sequence[Step], Request]] = [(steps, request)]
        self._waits_for: Future[Refusal | None] | None = None
        self.add_done_callback(_let_go)

    def after(self, decision: Future[Refusal | None]) -> _Going:
        self._waits_for = decision
        decision.add_done_callback(self._decided)
        return self

    def let_go(self) -> None:
        self._left.clear()
        if self.cancelled() and self._waits_for is not None:
            self._waits_for.cancel()

    def _decided(self, decision: Future[Refusal | None]) -> None:
        """By any thread: the step has answered, and the next ones are asked."""
        try:
            found = decision.result()
            steps, request = self._left.pop() if self._left else ((), None)
            step: Step | None = None
            while found is None and steps and request is not None:
                step, steps = steps[0], steps[1:]
                answer = step(request)
                if isinstance(answer, Future):
                    self._left.append((steps, request))
                    self.after(answer)
                    if self.cancelled():  # meanwhile
                        answer.cancel()
                    return
                found = answer
            if found is not None and request is not None:
                _tell(step, request, found)
        except BaseException as error:
            self._settle(error=error)
        else:
            self._settle(found)

    def _settle(self, found: Refusal | None = None, error: BaseException | None = None) -> None:
        if not self.set_running_or_notify_cancel():
            return
        if error is not None:
            self.set_exception(error)
        else:
            self.set_result(found)


def _let_go(going: Future[Refusal | None]) -> None:
    """A method of the future's own would be a cycle, which only the garbage collector ends."""
    if isinstance(going, _Going):
        going.let_go()
