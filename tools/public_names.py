#!/usr/bin/env python3
"""Every public name says what it is and shows it: tools/public_names.py names those that do not, and ends with 1.

Public is what the `__all__` of our packages has. grpcio documents what it made; constants have no docstrings.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = ("rpc", "rpc.aio", "rpc.balancing", "rpc.resolver", "xds_client", "localmesh", "proxyless")


def public() -> Iterator[tuple[str, object]]:
    """All that is ours, by its name, but for constants."""
    for name in MODULES:
        module = importlib.import_module(name)
        for public in module.__all__:
            thing = getattr(module, public)
            documentable = inspect.ismodule(thing) or inspect.isclass(thing) or inspect.isroutine(thing)
            if documentable and not getattr(thing, "__module__", name).startswith("grpc"):
                yield f"{name}.{public}", thing


def complaint(thing: object) -> str:
    """What its docstring is missing; empty: nothing. A class that inherits one has none of its own."""
    said = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    if not said:
        return "has no docstring"
    return "" if "\n>>> " in inspect.cleandoc(said) else "has a docstring without an example (>>>)"


def main() -> int:
    complaints = [f"{name} {why}" for name, thing in public() if (why := complaint(thing))]
    sys.stdout.writelines(f"{line}\n" for line in complaints)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
