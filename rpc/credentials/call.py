"""Call credentials as grpcio makes them: `grpc.metadata_call_credentials`, `access_token_…`, `composite_…`.

grpcio wraps a plugin in objects of its C core, which show what they hold; tests/rpc/tls/test_call_credentials.py
notices when they no longer do. Plugins run on a thread that may block, and may answer from another one.
Like grpcio's they see the context variables of where the credentials were made.
"""

from __future__ import annotations

import contextvars
import logging
import re
import threading
from typing import TYPE_CHECKING, Any

import grpc

from rpc.deadline import time_left

if TYPE_CHECKING:
    from collections.abc import Callable

    Plugin = Callable[[str, str, Callable[[Any, int, Any], None]], None]
    CallCredentials = tuple[Plugin, ...]
    Answer = tuple[Any, int, Any]  # metadata, code, details
else:
    CallCredentials = tuple

_log = logging.getLogger(f"proxyless.{__name__}")

_NAME = re.compile("[0-9a-z_.-]+").fullmatch
_TEXT = re.compile("[ -~]*").fullmatch
NOT_SECURE = "Established channel does not have a sufficient security level to transfer call credential."


def plugins_of(credentials: Any) -> CallCredentials:
    """What the credentials consist of; raises TypeError for anything that is no call credentials of grpcio."""
    inner = getattr(credentials, "_credentials", credentials)
    parts = getattr(inner, "_call_credentialses", None)
    if parts is not None and not hasattr(inner, "_channel_credentials"):
        return tuple(plugin for part in parts for plugin in plugins_of(part))
    plugin = getattr(inner, "_metadata_plugin", None)
    if plugin is None:
        kind = f"{type(credentials).__module__}.{type(credentials).__name__}"
        raise TypeError(f"{kind} is no call credentials; make them with grpc.metadata_call_credentials")
    return (plugin,)


def service_url(authority: str, path: str) -> tuple[str, str]:
    """What a plugin is told: the service's URL, as Google's tokens want it for their audience, and the method."""
    service, _, method = path.rpartition("/")
    return f"https://{authority.removesuffix(':443')}{service}", method


class NoCredentialsError(Exception):
    """Why there are none: the status that the call ends with, before it is sent."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code, self.details = code, details


class Interest:
    """Of who asks. Once it is lost, no thread waits any more for a plugin that does not answer."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lost = False

    def lose(self) -> None:
        with self._changed:
            self._lost = True
            self._changed.notify_all()

    def answered(self, answers: list[Answer], answer: Answer) -> None:
        with self._changed:
            answers.append(answer)
            self._changed.notify_all()

    def wait(self, answers: list[Answer], deadline: float | None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: answers or self._lost, time_left(deadline))


def gather(
    credentials: CallCredentials, authority: str, path: str, deadline: float | None, interest: Interest | None = None
) -> tuple[tuple[str, str | bytes], ...]:
    """Ask each plugin in turn and wait; ``deadline`` on the monotonic clock. Raises `NoCredentialsError`."""
    url, method = service_url(authority, path)
    pairs: list[tuple[str, str | bytes]] = []
    for plugin in credentials:
        pairs += _ask(plugin, url, method, deadline, interest or Interest())
    return tuple(pairs)


def _ask(
    plugin: Plugin, url: str, method: str, deadline: float | None, interest: Interest
) -> list[tuple[str, str | bytes]]:
    answers: list[Answer] = []

    def take(metadata: Any, code: int, details: Any) -> None:
        interest.answered(answers, (metadata, code, details))

    # The context in which its credentials were made, wherever and for whomever it runs; what it sets, nobody sees.
    made_in: contextvars.Context | None = getattr(plugin, "_stored_ctx", None)
    context = contextvars.copy_context() if made_in is None else made_in.copy()
    try:
        context.run(plugin, url, method, take)
    except BaseException as error:
        # The end of a plugin is not the end of who called it, nor of the loop that waits for it: it may say sys.exit().
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise  # the user's Ctrl-C
        _log.exception("a call credentials plugin raised: %r", plugin)
        take(None, grpc.StatusCode.INTERNAL.value[0], str(error) if isinstance(error, Exception) else repr(error))
    interest.wait(answers, deadline)
    if not answers:
        raise NoCredentialsError(
            grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded while waiting for call credentials"
        )
    metadata, code, details = answers[0]
    if code != 0:
        said = details.decode(errors="replace") if isinstance(details, bytes) else str(details)
        raise _failed(said)
    try:
        pairs = [(key, value) for key, value in metadata or ()]
    except (TypeError, ValueError) as error:
        raise _failed(f"metadata is made of pairs: {error}") from error
    for key, value in pairs:
        if not isinstance(key, str) or not _NAME(key):
            raise _failed(f"Illegal metadata: the key {key!r}")
        if not isinstance(value, (str, bytes)) or not (key.endswith("-bin") or _TEXT(_text(value))):
            raise _failed(f"Illegal metadata: the value of {key!r}")  # itself it may be a secret
    return pairs


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _failed(why: str) -> NoCredentialsError:
    return NoCredentialsError(grpc.StatusCode.UNAVAILABLE, f"Getting metadata from plugin failed with error: {why}")
