"""What all commands have in common: plain help as wide as the terminal, and `-v`."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import typer

_WIDEST = 160  # columns; longer lines are hard to read
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": _WIDEST}


def examples(*lines: str) -> str:
    """An epilog whose lines stay as they are."""
    title = "Examples:" if len(lines) > 1 else "Example:"
    return "\b\n" + "\n".join((title, *(f"  {line}" for line in lines)))


def _set_verbosity(count: int) -> int:
    if count:
        logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
        logging.getLogger("proxyless").setLevel(_LEVELS[min(count, len(_LEVELS) - 1)])
    return count


Verbose = Annotated[
    int,
    typer.Option(
        "--verbose", "-v", count=True, callback=_set_verbosity, show_default=False, help="Log more; -vv logs all."
    ),
]
