"""What the demo prints: a line per second while it runs, and a table at the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from examples.demo.consumer import Answer

PROVIDERS = ("v1a", "v1b", "v2")
BAR = 40


@dataclass(frozen=True, slots=True)
class Row:
    step: str
    expected: str
    seen: str
    ok: bool


class Report:
    def __init__(self) -> None:
        self._rows: list[Row] = []

    @property
    def ok(self) -> bool:
        return bool(self._rows) and all(row.ok for row in self._rows)

    def say(self, text: str = "") -> None:
        print(text, flush=True)

    def second(self, answers: Sequence[Answer]) -> None:
        """Who answered in the last second; the bar shows v1 as dots and v2 as hashes."""
        counts = Counter(answer.server for answer in answers)
        failed = counts.pop("", 0)
        v2 = round(BAR * counts["v2"] / (counts.total() or 1))
        servers = "  ".join(f"{name} {counts[name]:3}" for name in PROVIDERS)
        self.say(f"   {servers}  failed {failed}  [{'.' * (BAR - v2)}{'#' * v2}]")

    def row(self, step: str, expected: str, seen: str, ok: bool) -> None:
        self._rows.append(Row(step, expected, seen, ok))
        self.say(f"   {'ok' if ok else 'FAILED'}: {seen}")

    def table(self) -> None:
        widths = [max(len(getattr(row, column)) for row in self._rows) for column in ("step", "expected", "seen")]
        head = Row("step", "expected", "seen", ok=True)
        for row in (head, *self._rows):
            cells = (cell.ljust(width) for cell, width in zip((row.step, row.expected, row.seen), widths, strict=True))
            verdict = "" if row is head else "ok" if row.ok else "FAILED"
            self.say("  ".join((*cells, verdict)).rstrip())
