"""Settings that remember what they were asked for: what the pages have to list."""

from __future__ import annotations

from typing import Any


class Asked(dict[str, Any]):
    def __init__(self, **values: Any) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return super().__contains__(name)
