"""A link as the engine gives one, without a socket: for plans and pools, which decide and do no I/O."""

from __future__ import annotations


class FakeLink:
    def __init__(self, *, usable=True):
        self.usable = usable
        self.said = []

    def drain(self):
        self.said.append("drain")

    def close(self, *_why):
        self.said.append("close")
