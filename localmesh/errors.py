"""What can be wrong with a folder of Istio YAML.

LocalMeshError
└── ConfigError   the folder cannot be served; carries every `Problem`, each with file, line and reason
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where. ``line`` counts from 1; 0: the whole file or folder. The reason is cut and
    made printable.

    >>> print(Problem("routing.yaml", 7, "no such host"))
    routing.yaml:7: no such host
    """

    file: str
    line: int
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", printable(self.reason))

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{printable(place)}: {self.reason}"


def printable(text: str) -> str:
    """For terminals and logs: what strangers wrote, without what would steer a terminal or forge a line."""
    half = LONGEST_REASON // 2  # the beginning says where, the end says what is wrong
    cut = text if len(text) <= LONGEST_REASON else f"{text[:half]}...{text[-half:]}"
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in cut)


class LocalMeshError(Exception):
    """Everything localmesh raises.

    >>> LocalMesh("mesh", secure_address=None).secure_address
    Traceback (most recent call last):
    localmesh.errors.LocalMeshError: the mesh of mesh has no secure port: give it a secure_address
    """


class ConfigError(LocalMeshError):
    """The folder cannot be served as it is; ``problems`` lists all that was found, in the order of the files.

    >>> size = Path("broken.yaml").write_text("kind: VirtualService")
    >>> try:
    ...     LocalMesh("broken.yaml").start()
    ... except ConfigError as error:
    ...     problem = error.problems[0]
    >>> problem.file, problem.line
    ('broken.yaml', 1)
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
