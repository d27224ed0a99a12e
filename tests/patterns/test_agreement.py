"""Our patterns beside RE2 itself (google-re2, the library that Envoy matches with), on patterns made at random.

`FUZZ_SECONDS=n` goes on for so long; `FUZZ_SEED=n` runs that one only. A seed that failed belongs into `seeds.txt`.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import re2

from proxyless_native import Pattern
from tests.patterns.grammar import Grammar

if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS = 10_000
PER_SEED = 5
# What we refuse and RE2 takes, on purpose. Everything else is a difference.
REFUSED = (r"\C is not supported", "is a surrogate", "pattern too large", "nested too deeply")
SEEDS = [
    int(line.split()[0]) for line in Path(__file__).with_name("seeds.txt").read_text().splitlines() if line.strip()
]
QUIET = re2.Options()
QUIET.log_errors = False


def made(make: Callable[[str], Any], pattern: str) -> tuple[Any, str]:
    """The pattern compiled, or why not."""
    try:
        return make(pattern), ""
    except (re2.error, ValueError) as error:
        return None, str(error)


def compare(pattern: str, texts: list[str]) -> str:
    """What became of the pattern: refused by both, refused by us alone (and named), or how many texts matched."""
    theirs, refusal = made(lambda text: re2.compile(text, QUIET), pattern)
    ours, reason = made(Pattern, pattern)
    if reason:
        named = any(known in reason for known in REFUSED)
        assert refusal or named, f"{pattern!r}: RE2 takes it, we say {reason}"
        return "refused" if refusal else "refused by us"
    assert not refusal, f"{pattern!r}: we take it, RE2 says {refusal}"
    found = [ours.fullmatch(text) for text in texts]
    expected = [theirs.fullmatch(text) is not None for text in texts]
    assert found == expected, f"{pattern!r} and {texts!r}: RE2 says {expected}, we {found}"
    return "matched" if any(found) else "compared"


def one(seed: int) -> str:
    grammar = Grammar(random.Random(seed))
    pattern, text = grammar.pattern()
    texts = [text, *(grammar.near(text) for _ in range(PER_SEED - 1))]
    try:
        return compare(pattern, texts)
    except AssertionError as error:
        raise AssertionError(f"FUZZ_SEED={seed}: {error}") from error


@pytest.mark.timeout(int(os.environ.get("FUZZ_SECONDS", "0")) + 120)
def test_patterns_match_what_re2_matches_and_refuse_what_it_refuses():
    if "FUZZ_SEED" in os.environ:
        one(int(os.environ["FUZZ_SEED"]))
        return
    for seed in SEEDS:
        one(seed)
    seconds = int(os.environ.get("FUZZ_SECONDS", "0"))
    until = time.monotonic() + seconds
    seeds = random.Random(time.time_ns() if seconds else 1)
    became: Counter[str] = Counter()
    while sum(became.values()) * PER_SEED < PAIRS or time.monotonic() < until:
        became[one(seeds.getrandbits(32))] += 1
    sys.stdout.write(f"{sum(became.values()) * PER_SEED} pairs: {dict(became)}\n")
    # The generator is worth something: all that can become of a pattern becomes of many.
    share = {what: count / sum(became.values()) for what, count in became.items()}
    assert share["matched"] > 0.3, share
    assert share["compared"] > 0.05, share
    assert share["refused"] > 0.05, share


def test_every_single_character_is_in_the_same_sets():
    """The tables of Unicode are of different years: only characters that RE2's year knows are compared."""
    known = re2.compile(r"[\pL\pM\pN\pP\pS\pZ\pC]", QUIET)
    characters = [chr(code) for code in range(0x3000) if known.fullmatch(chr(code))]
    for pattern in (r"\w", r"(?i)\w", r"\s", r"\W", "[[:space:]]", "(?i)[[:upper:]]", r"\pL",
                    r"(?i)\p{Lu}", r"\p{Greek}",
                    "(?i)[k-s]", r"(?i)[^k-s]", ".", r"\pC", r"\PN", "(?i)\u03c3", "(?i)\u00df"):  # fmt: skip
        ours, theirs = Pattern(pattern), re2.compile(pattern, QUIET)
        # Two capitals of Unicode 16 gave their small letters a case.
        differ = [
            c for c in characters if c not in "\u019b\u0264" and ours.fullmatch(c) != (theirs.fullmatch(c) is not None)
        ]
        assert not differ, (pattern, [hex(ord(c)) for c in differ[:20]])
