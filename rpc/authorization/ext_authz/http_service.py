"""A service that is asked by HTTP: the request's own head, and its status is the answer. Plaintext HTTP/1.1.

Its threads are few, and belong to one filter: a service that hangs keeps its own callers waiting.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from rpc.authorization.exchange import Exchange, ExchangeError
from rpc.authorization.ext_authz.endpoints import Endpoints, NowhereError
from rpc.authorization.ext_authz.verdict import Allowed, Denied, Failed, Verdict
from rpc.authorization.matching import names_match
from rpc.authorization.mutations import text_of
from rpc.authorization.program import CannotCarryOutError
from rpc.schedule import schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc.authorization.exchange import Answer
    from xds_client import PilotExchanger
    from xds_client.model import HttpAuthorizer, StringListMatch

ALWAYS_TOLD = frozenset({":authority", ":method", ":path", "authorization"})  # and no others, unless it is said
_ALWAYS_ANSWERED = frozenset({"location", "www-authenticate"})
_REMOVES = "x-envoy-auth-headers-to-remove"
_THREADS = 16
_LARGEST = 64 * 1024  # bytes of a body
_TRIES = 2  # endpoints
_TIMEOUT = 0.2  # seconds, where nothing is said
_FOREVER = 3600.0  # where no limit is said
_OK, _SERVER_ERROR = 200, 500
_TIMED_OUT = Verdict(Failed("it did not answer in time"))


class HttpChecks:
    def __init__(self, said: HttpAuthorizer, mesh: PilotExchanger | None) -> None:
        """Raises `CannotCarryOutError` and `InvalidPatternError`."""
        uri = said.server_uri
        if uri is None or not uri.cluster:
            raise CannotCarryOutError("http_service without a cluster")
        if said.retry_policy is not None:
            raise CannotCarryOutError("retry_policy of its service")
        self.name = uri.cluster
        self._prefix = said.path_prefix
        adds = said.authorization_request.headers_to_add if said.authorization_request is not None else ()
        self._adds = {header.key.lower(): text_of(header.key, header.value) for header in adds}
        self._meaning = _Meaning(said)
        self._timeout = _TIMEOUT if uri.timeout is None else uri.timeout or None
        self._endpoints = Endpoints(self.name, mesh)
        self._pool = ThreadPoolExecutor(_THREADS, "mesh-authorizer")

    def ask(self, check: Any, answered: Callable[[Verdict], None]) -> Callable[[], object]:
        """As `GrpcChecks.ask`."""
        once = _Once(answered)
        exchange = Exchange(self._timeout or _FOREVER, _LARGEST)

        def give_up() -> None:
            once(_TIMED_OUT)
            exchange.give_up()

        if self._timeout is not None:
            due = schedule.after(self._timeout, give_up)
            if due is not None:
                once.then = due.cancel
        self._pool.submit(self._run, check, exchange, once)
        return give_up

    def _run(self, check: Any, exchange: Exchange, once: _Once) -> None:
        if once.over:
            return  # it waited for a thread for too long
        try:
            once(self._meaning.of(self._answer(check, exchange, once)))
        except (ExchangeError, NowhereError, OSError) as error:
            once(Verdict(Failed(f"{type(error).__name__}: {error}")))
        except BaseException as error:
            once(Verdict(Failed(f"{type(error).__name__}: {error}")))
            raise

    def _answer(self, check: Any, exchange: Exchange, once: _Once) -> Answer:
        http = check.attributes.request.http
        told = {name: value for name, value in http.headers.items() if not name.startswith(":")}
        told |= {"host": http.headers.get(":authority", "")} | self._adds
        told = {name: value for name, value in told.items() if name not in ("connection", "te")} | {
            "content-length": "0"
        }
        failure: OSError | None = None
        for address in self._endpoints.some(_TRIES):
            try:
                return exchange.run(address, http.method, self._prefix + http.path, [*told.items()])
            except OSError as error:  # nobody is there, so nobody has been asked
                failure = error
            if once.over:
                break
        raise failure or NowhereError("it has no endpoints")


class _Once:
    """Answers the first time, and then does what is to follow."""

    def __init__(self, answered: Callable[[Verdict], None]) -> None:
        self._answered = [answered]
        self.then: Callable[[], object] = lambda: None

    @property
    def over(self) -> bool:
        return not self._answered

    def __call__(self, verdict: Verdict) -> None:
        try:
            answered = self._answered.pop()
        except IndexError:
            return
        self.then()
        answered(verdict)


class _Meaning:
    """Of an answer: what it lets in, and which of its headers count for whom."""

    def __init__(self, said: HttpAuthorizer) -> None:
        """Raises `InvalidPatternError`."""
        response = said.authorization_response

        def listed(name: str) -> Callable[[str], bool] | None:
            patterns: StringListMatch | None = getattr(response, name) if response is not None else None
            return names_match(patterns)

        self._sets = listed("allowed_upstream_headers") or _none
        self._appends = listed("allowed_upstream_headers_to_append") or _none
        self._for_who_is_let_in = listed("allowed_client_headers_on_success") or _none
        self._for_who_is_denied = listed("allowed_client_headers")
        self._finds = listed("dynamic_metadata_from_headers") or _none

    def of(self, answer: Answer) -> Verdict:
        if answer.status >= _SERVER_ERROR:
            return Verdict(Failed(f"it answers with HTTP status {answer.status}"))
        found = {name: value for name, value in answer.headers if self._finds(name)}
        if answer.status != _OK:
            headers = tuple(pair for pair in answer.headers if self._is_for_who_is_denied(pair[0]))
            return Verdict(Denied(answer.status, answer.body.decode(errors="replace"), headers), found)
        removing = (name.strip() for said, value in answer.headers if said == _REMOVES for name in value.split(","))
        allowed = Allowed(
            setting=tuple(pair for pair in answer.headers if self._sets(pair[0])),
            adding=tuple(pair for pair in answer.headers if self._appends(pair[0])),
            removing=tuple(name for name in removing if name),
            answer=tuple(
                ("APPEND_IF_EXISTS_OR_ADD", name, value)
                for name, value in answer.headers
                if self._for_who_is_let_in(name)
            ),
        )
        return Verdict(allowed, found)

    def _is_for_who_is_denied(self, name: str) -> bool:
        """All, where nothing is said."""
        chosen = self._for_who_is_denied
        return chosen is None or name in _ALWAYS_ANSWERED or chosen(name)


def _none(_: str) -> bool:
    return False
