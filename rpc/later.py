"""What is said instead of an answer that is not there yet: whoever has it goes on."""

from __future__ import annotations

import enum
from typing import Final


class Later(enum.Enum):
    LATER = enum.auto()


LATER: Final = Later.LATER
