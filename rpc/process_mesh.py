"""The mesh of this process: one exchanger for all channels and ports that are given no other. Any thread."""

from __future__ import annotations

import atexit
import os
from typing import TYPE_CHECKING, NamedTuple

from rpc.fork import ProcessLock
from xds_client import Bootstrap, PilotExchanger
from xds_client.settings import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Opened(NamedTuple):
    exchanger: PilotExchanger
    settings: Mapping[str, str]


_lock = ProcessLock()
_current: _Opened | None = None
_former: list[PilotExchanger] = []  # of other settings, still observed by channels and ports that were made then


def mesh() -> PilotExchanger:
    """The mesh of this process, opened from the environment when first needed: who does not say ``mesh=`` gets it.

    Its `status()` tells how it stands, `status().ready` whether it is connected and has its certificate, `identity` who
    this process is. After `close()`, and once other ``PROXYLESS_…`` variables are set (a test may do so), the next use
    opens another; channels and servers stay with the one that they were made with.
    Raises `xds_client.BootstrapError` naming file and field.

    >>> rpc.mesh().identity.wait(timeout=10).spiffe_id  # identity is None over plaintext
    'spiffe://cluster.local/ns/demo/sa/web'
    >>> rpc.mesh().status().ready
    True
    """
    global _current  # noqa: PLW0603 - one stream per process is the point; it is made on demand, never at import
    with _lock:
        settings = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
        if _current is None or _current.exchanger.closed or _current.settings != settings:
            opened = PilotExchanger(Bootstrap.load())
            if _current is not None:
                _former.append(_current.exchanger)
            _current = _Opened(opened, settings)
        for left in [one for one in _former if not one.observed]:
            left.close(timeout=0.0)
            _former.remove(left)
        return _current.exchanger


def _close_all() -> None:
    for exchanger in [*_former, *([_current.exchanger] if _current is not None else [])]:
        exchanger.close()


atexit.register(_close_all)
