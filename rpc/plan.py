"""The call plan: what a call does next, decided once for the blocking and the asyncio world.

A plan is a generator. It yields a step (`rpc.steps`), is sent what came of it, and returns the call's outcome. It never
waits, dials or sends by itself: `rpc.runner` has the world it is in do that.

    no configuration yet ── Wait ──┐
    route → cluster → pick ────────┤ nothing ready: Dial, or Wait while others dial
        call credentials: Authorize┤
                                   └ Attempt ── no stream free: AwaitStream, Dial another transport
                                        ├────── not processed by the peer: once more, for free (gRFC A6)
                                        └────── failed, and the retry policy says so: Wait, then once more
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

import grpc

from rpc._native import Method, Origin
from rpc.attempt import Attempt
from rpc.balancing import PolicyError
from rpc.choice import NoChoiceError
from rpc.credentials.call import NOT_SECURE, NoCredentialsError
from rpc.deadline import sooner
from rpc.errors import NOT_SENT, ChannelClosedError, RouteLimit, explained, failed, listed
from rpc.request_head import RequestHead
from rpc.retrying import Retries
from rpc.steps import Authorize, AwaitStream, Dial, Wait
from rpc.transport.pending_calls import PendingCall

if TYPE_CHECKING:
    from collections.abc import Generator

    from rpc._native import Outcome, Pairs
    from rpc.balancing import BalancedCluster, Pick
    from rpc.choice import CallTerms, Choice
    from rpc.core import ChannelCore
    from rpc.credentials import CallCredentials
    from rpc.method import MethodSpec
    from rpc.snapshot import Snapshot
    from rpc.steps import Answer, Plan, Step
    from rpc.transport import Subchannel

_log = logging.getLogger(f"proxyless.{__name__}")
# A stream that the peer never processed is sent again without counting as a retry. gRFC A6 allows it once per call for
# streams that reached the server's transport, whatever became of their connection: a server may end each one. What
# never left this side may go on to the next transport: how often there is one, the back-off of subchannels bounds.
_TRANSPARENT_RETRIES = 1
# A call that finds nothing connected dials so many endpoints at once, and further ones with some time between them: one
# call must not dial thousands.
_AT_ONCE = 32
_APART = 0.02  # seconds
_LOOK_AGAIN = 1.0  # seconds, while a call waits for a cluster that cannot be called
_PREVIOUS_ATTEMPTS = "grpc-previous-rpc-attempts"


class _EndedError(Exception):
    """The call is over before it was sent."""

    def __init__(self, code: grpc.StatusCode, details: str, origin: Origin = Origin.LOCAL) -> None:
        super().__init__(details)
        self.outcome = failed(code, details, origin=origin)


def plan_call(
    core: ChannelCore,
    method: MethodSpec,
    payload: bytes | None,
    metadata: Pairs | None,
    deadline: float | None,
    wait_for_ready: bool | None,
) -> Plan:
    """The plan of one call. ``payload`` is its only request, None where there are several. ``deadline`` on the
    core's clock. Raises `ChannelClosedError`.

    Its first step raises TypeError for metadata that is none, where there is no connection that would.
    """
    if core.closed or core.closing:
        raise ChannelClosedError
    if metadata is not None:
        metadata = tuple(metadata)  # read by the routes and by the engine, once an attempt
    return _planned(core, method, payload, metadata, deadline, wait_for_ready)


def _planned(  # noqa: C901 - the whole way of a call, in one place
    core: ChannelCore,
    method: MethodSpec,
    payload: bytes | None,
    metadata: Pairs | None,
    deadline: float | None,
    wait_for_ready: bool | None,
) -> Plan:
    path = method.path
    free_retries = _TRANSPARENT_RETRIES
    retries: Retries | None = None
    routed: float | None = None
    whose: RouteLimit | None = None
    if core.terms_of is not None and (terms := core.terms_of(path)) is not None:
        deadline, _ = _limited(terms, core.clock(), deadline)
        wait_for_ready, retries = _agreed(core, terms, wait_for_ready, None)
    try:
        while True:
            snapshot = core.snapshot or (
                yield from _configuration(core, metadata, deadline, wait_for_ready=wait_for_ready)
            )
            head = RequestHead(path, snapshot.authority, metadata, core.user_agent, deadline)
            choice = _choice(core, snapshot, head)
            limit, whose = deadline, None
            if choice.terms is not None:
                # Envoy's route time-out spans all attempts, from when the request was whole.
                routed = routed or core.clock()
                limit, whose = _limited(choice.terms, routed, deadline)
                wait_for_ready, retries = _agreed(core, choice.terms, wait_for_ready, retries)
            pick = yield from _picked(core, snapshot, choice.pool, head, limit, wait_for_ready=wait_for_ready)
            if pick is None:  # the configuration changed
                continue
            attempt = Attempt(pick, method, payload, snapshot.authority, limit, metadata, whose)
            try:
                if method.credentials or core.credentials:
                    plugins = (*core.credentials, *method.credentials)
                    attempt.metadata = (*(metadata or ()), *(yield from _authorized(plugins, attempt, path)))
                if retries is not None and retries.attempts > 0:
                    attempt.metadata = (*(attempt.metadata or ()), (_PREVIOUS_ATTEMPTS, str(retries.attempts)))
                outcome = yield from _tried(core, attempt)
            finally:
                attempt.close()
            if outcome is NOT_SENT:
                continue
            if outcome.unprocessed and free_retries > 0 and not _passed(core, limit):
                free_retries -= 1
            elif retries is None or not (yield from _worth_another(core, retries, outcome, limit)):
                return outcome if whose is None else explained(outcome, whose, core.clock)
    except _EndedError as ended:
        return explained(ended.outcome, whose, core.clock)


def _refuse_unsendable(metadata: Pairs | None) -> None:
    """Where there is no connection yet, which would refuse it: nobody is to wait for one in vain. Raises TypeError."""
    if metadata is None:
        return
    try:
        Method.check_metadata(metadata)
    except ValueError as error:
        raise _EndedError(grpc.StatusCode.INTERNAL, str(error)) from None


def _limited(terms: CallTerms, since: float, deadline: float | None) -> tuple[float | None, RouteLimit | None]:
    """The deadline under these terms, and whose it is if it is not the caller's."""
    if terms.timeout is None:
        return deadline, None
    limit = sooner(deadline, since + terms.timeout)
    return limit, RouteLimit(limit, terms.timeout_words) if limit is not deadline else None


def _agreed(
    core: ChannelCore, terms: CallTerms, wait_for_ready: bool | None, retries: Retries | None
) -> tuple[bool | None, Retries | None]:
    """What these terms make of what the caller, and terms before them, say."""
    if terms.retry is not None:
        if retries is None:
            retries = Retries(terms.retry, core.throttle)
        retries.policy = terms.retry  # what was tried so far counts
    return terms.wait_for_ready if wait_for_ready is None else wait_for_ready, retries


def _authorized(plugins: CallCredentials, attempt: Attempt, path: str) -> Generator[Step, Answer, Pairs]:
    """What the credentials add to the metadata."""
    if attempt.pick.endpoint.subchannel.key.security is None:
        raise _EndedError(grpc.StatusCode.UNAUTHENTICATED, NOT_SECURE)
    answer = yield Authorize(plugins, attempt.authority, path, attempt.deadline)
    if isinstance(answer, NoCredentialsError):
        raise _EndedError(answer.code, answer.details)
    return cast("Pairs", answer)


def _worth_another(
    core: ChannelCore, retries: Retries, outcome: Outcome, deadline: float | None
) -> Generator[Step, Answer, bool]:
    """Sleep until it is time to send the call again; False: the outcome stands."""
    delay = retries.delay(outcome)
    if delay is None:
        return False
    until = core.clock() + delay
    if deadline is not None and deadline <= until:
        return False
    while core.clock() < until and not core.closed:
        yield Wait(core.generation, until)
    return not core.closed


def _configuration(
    core: ChannelCore, metadata: Pairs | None, deadline: float | None, *, wait_for_ready: bool | None
) -> Generator[Step, Answer, Snapshot]:
    """Wait for the first configuration; for one that is of use, too, if the caller says so (gRFC L42)."""
    _refuse_unsendable(metadata)
    while True:
        generation = core.generation
        if (snapshot := core.snapshot) is not None:
            return snapshot
        problem = core.problem
        if problem is not None and core.closed:
            raise _EndedError(grpc.StatusCode.CANCELLED, problem, Origin.CHANNEL)
        if problem is not None and not wait_for_ready:
            raise _EndedError(grpc.StatusCode.UNAVAILABLE, problem)
        if _passed(core, deadline):
            raise _late(f"{core.target}: {problem or f'no configuration yet: {core.waiting_for()}'}")
        yield Wait(generation, deadline)


def _choice(core: ChannelCore, snapshot: Snapshot, head: RequestHead) -> Choice:
    try:
        choice = snapshot.choose(head)
    except NoChoiceError as none:
        raise _EndedError(none.code, f"{core.target}: {none}") from None
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("%s: %s takes %s, to cluster %s", core.target, head.path, choice.rule, choice.pool.name)
    return choice


def _picked(  # noqa: C901 - each way on is one look at the pool
    core: ChannelCore,
    snapshot: Snapshot,
    pool: BalancedCluster,
    head: RequestHead,
    deadline: float | None,
    *,
    wait_for_ready: bool | None,
) -> Generator[Step, Answer, Pick | None]:
    """An endpoint of the pool that can take the call; None: the configuration changed, choose again."""
    dialled = 0
    while True:
        generation = core.generation
        current = core.snapshot
        if current is not snapshot:  # the same choice, as the newest configuration has it
            if current is None or pool.name not in current.clusters:
                return None
            snapshot, pool = current, current.clusters[pool.name]
        if pool.error is not None:
            core.missed()  # a name may have had no thread to be looked up in, and then nobody else looks again
            why = f"{core.target}: {pool.error}"
            yield _another_configuration(core, why, generation, deadline, wait_for_ready=wait_for_ready)
            return None
        try:
            pick, idle = pool.pick(head, generation)
        except PolicyError as error:
            raise _EndedError(grpc.StatusCode.INTERNAL, f"{core.target}: cluster {pool.name}: {error}") from None
        if idle is not None:
            yield from _dialled_beside(idle, pick)
        if pick is not None:
            return pick
        if not dialled:
            _refuse_unsendable(head.metadata)
        if _passed(core, deadline):
            raise _late(f"{core.target}: no connection to cluster {pool.name}: {_errors(pool)}")
        dialled += 1
        if idle is not None and dialled > _AT_ONCE:
            yield Wait(core.generation, sooner(deadline, core.clock() + _APART))
        elif idle is None:
            yield Wait(generation, _next_chance(core, pool, deadline, wait_for_ready=wait_for_ready))


def _dialled_beside(idle: Subchannel, pick: Pick | None) -> Generator[Step, Answer, None]:
    try:
        yield Dial(idle)
    except BaseException:  # the call is given up here
        if pick is not None:
            pick.not_sent()
        raise


def _another_configuration(
    core: ChannelCore, why: str, generation: int, deadline: float | None, *, wait_for_ready: bool | None
) -> Wait:
    """By this one no call can go there: it fails, or waits for the next."""
    if not wait_for_ready:
        raise _EndedError(grpc.StatusCode.UNAVAILABLE, why)
    if _passed(core, deadline):
        raise _late(why)
    return Wait(generation, sooner(deadline, core.clock() + _LOOK_AGAIN))


def _tried(core: ChannelCore, attempt: Attempt) -> Generator[Step, Answer, Outcome]:
    """What came of the attempt, on whichever transport of the subchannel; `NOT_SENT`: it was lost since it was picked.

    Fails the call once our certificate has expired.
    """
    subchannel = attempt.pick.endpoint.subchannel
    security = subchannel.key.security
    if security is not None and (lapsed := security.lapsed()) is not None:
        raise _EndedError(grpc.StatusCode.UNAVAILABLE, f"{core.target}: {lapsed}")
    transport = subchannel.transport
    if transport is None:
        return NOT_SENT
    attempt.transport = transport
    # Nobody overtakes the queue.
    outcome = NOT_SENT
    if not subchannel.pending.calls:
        if _passed(core, attempt.deadline):  # what nobody waits for any more is not sent
            raise _EndedError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        outcome = cast("Outcome", (yield attempt))
    if outcome is NOT_SENT and transport.usable:
        outcome = yield from _queued(core, subchannel, attempt)
    if outcome is NOT_SENT:
        subchannel.lost()  # the engine's own word of it may stand behind this very call, in this thread
    return outcome


def _queued(core: ChannelCore, subchannel: Subchannel, attempt: Attempt) -> Generator[Step, Answer, Outcome]:
    """No stream is free for the call: it goes to the oldest transport that has one, or waits its turn (gRFC A105).

    `NOT_SENT`: there is no transport any more.
    """
    pending = PendingCall()
    transport = None if subchannel.pending.calls else subchannel.roomy()
    first = False
    try:
        while True:
            if transport is None:
                subchannel.join(pending, first=first)
                yield from _turn(core, subchannel, pending, attempt.deadline)
                if subchannel.transport is None:
                    return NOT_SENT
                transport, first = subchannel.roomy(), True
            else:
                attempt.transport = transport
                outcome = cast("Outcome", (yield attempt))
                if outcome is not NOT_SENT or not transport.usable:
                    return outcome
                transport = None
    except BaseException:  # given up, or too late; what was called and has its stream leaves nothing to others
        subchannel.leave(pending)
        raise


def _turn(
    core: ChannelCore, subchannel: Subchannel, pending: PendingCall, deadline: float | None
) -> Generator[Step, Answer, None]:
    """Wait until the call may try. The first in the queue has another transport dialled where that is allowed."""
    while not pending.called:
        pending.woken = False
        if pending.called:  # just now
            return
        if _passed(core, deadline):
            taken = f"all streams that the server allows on {len(subchannel.transports)} connection(s) are taken"
            raise _late(f"{core.target}: {subchannel.key}: {taken}")
        until = deadline
        if subchannel.grows:
            held_back = subchannel.held_back
            if held_back == 0.0:
                yield Dial(subchannel)
            else:
                until = sooner(deadline, core.clock() + held_back)
        yield AwaitStream(pending, until)


def _next_chance(
    core: ChannelCore, cluster: BalancedCluster, deadline: float | None, *, wait_for_ready: bool | None
) -> float | None:
    """Until when waiting for a change makes sense, while every subchannel is being dialled or has failed."""
    subchannels = cluster.subchannels
    if any(subchannel.dialling for subchannel in subchannels):
        return deadline
    if not wait_for_ready and all(subchannel.error is not None for subchannel in subchannels):
        raise _EndedError(
            grpc.StatusCode.UNAVAILABLE,
            f"{core.target}: failed to connect to all addresses of cluster {cluster.name}: {_errors(cluster)}",
        )
    retry_at = core.clock() + min(subchannel.retry_in for subchannel in subchannels)
    return retry_at if deadline is None else min(deadline, retry_at)


def _passed(core: ChannelCore, deadline: float | None) -> bool:
    return deadline is not None and deadline <= core.clock()


def _late(what: str) -> _EndedError:
    return _EndedError(grpc.StatusCode.DEADLINE_EXCEEDED, f"Deadline Exceeded while waiting: {what}")


def _errors(cluster: BalancedCluster) -> str:
    reasons = sorted(f"{c.key}: {why}" for c in cluster.subchannels if (why := c.error or _waits_for(c)))
    return listed(reasons) or "still connecting"


def _waits_for(subchannel: Subchannel) -> str | None:
    """What a subchannel needs before it can be dialled at all."""
    security = subchannel.key.security
    return security.lapsed() if security is not None else None
