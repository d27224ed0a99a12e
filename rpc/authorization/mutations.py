"""Changes of headers as the mesh writes them, compiled once: in a request, and in the head of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rpc.authorization.program import CannotCarryOutError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rpc.authorization.request import Request
    from xds_client.model import HeaderToAdd


class Change(NamedTuple):
    """``action``: of `xds_client.model.HeaderToAdd`, or REMOVE."""

    action: str
    name: str
    value: bytes = b""

    def in_request(self, request: Request) -> None:
        before = request.values(self.name)
        match self.action:
            case "REMOVE":
                if before:
                    request.remove(self.name)
                return
            case "ADD_IF_ABSENT" if before:
                return
            case "OVERWRITE_IF_EXISTS" if not before:
                return
            case "APPEND_IF_EXISTS_OR_ADD":
                request.replace(self.name, [*before, self.value])
                return
        request.replace(self.name, [self.value])

    def in_answer(self, request: Request) -> None:
        request.change_answer(*self)


def removal(name: str) -> Change:
    return Change("REMOVE", name.lower())


def additions(options: Iterable[HeaderToAdd]) -> tuple[Change, ...]:
    """Raises `CannotCarryOutError`."""
    return tuple(change for option in options if (change := addition(option)) is not None)


def addition(option: HeaderToAdd) -> Change | None:
    """None: an empty value, which is not to be added. Raises `CannotCarryOutError`."""
    value = option.header.raw_value or text_of(option.header.key, option.header.value).encode()
    if not value and not option.keep_empty_value:
        return None
    return Change(option.append_action, option.header.key.lower(), value)


def text_of(name: str, value: str) -> str:
    """Without formatters there is only ``%%``. Raises `CannotCarryOutError`."""
    if "%" in value.replace("%%", ""):
        raise CannotCarryOutError(f"header {name!r} of the value {value!r:.200}, which has a formatter")
    return value.replace("%%", "%")
