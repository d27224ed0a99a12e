"""Listeners, as far as this release reads them: by name. Inbound filter chains come with PeerAuthentication."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listener:
    name: str
