"""Filters of listeners, connections, HTTP and clusters: what they are and what they say. Frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xds_client.model.values import Deferred


@dataclass(frozen=True, slots=True)
class Filter:
    """``type``: the full name of its configuration's message, in a TypedStruct that of the inner one. It alone says
    what the filter does; ``name`` is anybody's choice.

    ``config``: its value, read of ``packed`` when first asked for, where this release knows the type
    (`xds_client.model.rbac` and its neighbours); else it is `Opaque`, with the reason why if the type is known. None:
    there is none, or what it says stands elsewhere, as with routers and connection managers. ``disabled``: only routes
    that say so have it. ``is_optional``: who does not know it may leave it out.

    ``discovered``: the configuration is a resource of its own by ADS (ECDS), of this name and one of the ``permitted``
    types (none listed: any). ``default_config``: what the listener says of it meanwhile, in the form of ``config``;
    None: nothing. ``unknown``: why ``type`` is empty then.
    """

    name: str
    type: str = ""
    discovered: bool = False
    permitted: tuple[str, ...] = ()
    unknown: str = ""
    packed: Deferred[object] | None = field(default=None, repr=False)
    disabled: bool = False
    is_optional: bool = False
    packed_default: Deferred[object] | None = field(default=None, repr=False)

    @property
    def config(self) -> object:
        return None if self.packed is None else self.packed.value

    @property
    def default_config(self) -> object:
        return None if self.packed_default is None else self.packed_default.value


@dataclass(frozen=True, slots=True)
class ExtensionConfig:
    """What ECDS says of a filter: ``type`` and ``config`` as in `Filter`."""

    name: str
    type: str
    packed: Deferred[object] | None = field(default=None, repr=False)

    @property
    def config(self) -> object:
        return None if self.packed is None else self.packed.value
