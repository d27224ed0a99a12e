"""What can be wrong with a folder of Istio YAML.

LocalMeshError
└── ConfigError   the folder cannot be served; carries every `Problem`, each with file, line and reason
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where. ``line`` counts from 1."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class LocalMeshError(Exception):
    """Everything localmesh raises."""


class ConfigError(LocalMeshError):
    """The folder cannot be served as it is; ``problems`` lists all that was found, in the order of the files."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
