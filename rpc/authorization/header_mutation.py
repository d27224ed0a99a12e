"""``envoy.filters.http.header_mutation``: headers of requests and answers that are changed before anybody sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpc.authorization.matching import InvalidPatternError, text_matches
from rpc.authorization.mutations import addition, removal
from rpc.authorization.per_route import said_by_routes
from rpc.authorization.program import CannotCarryOutError, carries_out
from xds_client.model import HeaderMutationFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc.authorization.mutations import Change
    from rpc.authorization.program import Step, Surroundings
    from rpc.authorization.request import Request
    from xds_client.model import HeaderMutation, Mutations

TYPE = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"


def compiled(said: HeaderMutationFilter, around: Surroundings) -> Step | None:
    """The listener's, then what routes say, the most specific first: so the least specific has the last word, unless it
    is said otherwise.
    """
    by_routes, disabled = said_by_routes(around, HeaderMutationFilter)
    if disabled:
        return None
    routes = by_routes if said.most_specific_header_mutations_wins else by_routes[::-1]
    in_request: list[Callable[[Request], None]] = []
    in_answer: list[Change] = []
    for one in (said, *routes):
        _refuse_what_nobody_carries_out(one.mutations)
        in_request += [change for mutation in one.mutations.request_mutations for change in _request_changes(mutation)]
        in_answer += [change for mutation in one.mutations.response_mutations for change in _answer_changes(mutation)]
    return _Mutates(tuple(in_request), tuple(in_answer)) if in_request or in_answer else None


def _refuse_what_nobody_carries_out(said: Mutations) -> None:
    for name in ("query_parameter_mutations", "response_trailers_mutations", "request_trailers_mutations"):
        if getattr(said, name):
            raise CannotCarryOutError(name)


def _request_changes(said: HeaderMutation) -> tuple[Callable[[Request], None], ...]:
    if said.remove_on_match is not None:
        try:
            matches = text_matches(said.remove_on_match)
        except InvalidPatternError as error:
            raise CannotCarryOutError(str(error), invalid=True) from error
        return (lambda request: _remove_all(request, matches),)
    return tuple(change.in_request for change in _answer_changes(said))


def _answer_changes(said: HeaderMutation) -> tuple[Change, ...]:
    if said.remove is not None:
        return (removal(said.remove),)
    if said.append is None:
        raise CannotCarryOutError("response_mutations that remove by pattern")
    change = addition(said.append)
    return () if change is None else (change,)


def _remove_all(request: Request, matches: Callable[[str], bool]) -> None:
    for name in {name for name, _ in request.fields() if not name.startswith(":")}:
        if matches(name):
            request.remove(name)


class _Mutates:
    def __init__(self, in_request: tuple[Callable[[Request], None], ...], in_answer: tuple[Change, ...]) -> None:
        self._in_request = in_request
        self._in_answer = in_answer

    def __call__(self, request: Request) -> None:
        for changes in self._in_request:
            changes(request)
        for change in self._in_answer:
            change.in_answer(request)


carries_out(TYPE, HeaderMutationFilter, compiled)
