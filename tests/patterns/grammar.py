"""Patterns made by RE2's grammar, each with texts near to what it matches; and its signs in a row at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

# Where engines differ: cases that fold beyond ASCII (k, s), digits and spaces that are not ASCII's, marks, four bytes.
SIGNS = [*"abkKsSz019_-. /:,\n\t", "\v", "\f", "\r", "\x00", "\x7f", "\u212a", "\u017f", "\u0661", "\u00e9", "\u00df"]
SIGNS += ["\u1e9e", "\u03c3", "\u03c2", "\u0130", "\u00a0", "\u2028", "\u0301", "\U0001f600", "\ufffd", "\x85"]
SETS = {
    r"\d": "059", r"\D": "a\u0661", r"\s": " \t\f", r"\S": "a\v\u00a0", r"\w": "aZ_9", r"\W": "-\u00e9",
    r"\pL": "ak\u00e9\u212a", r"\PL": "1- ", r"\p{Greek}": "\u03c3", r"\p{^Greek}": "ab", r"\p{Lu}": "KS\u212a",
    r"\P{Lu}": "ab\u017f", r"\pN": "19\u0661", r"\pZ": " \u00a0\u2028", r"\p{Any}": "a\n\U0001f600", r"\pC": "\x00\x85",
    r"\pM": "\u0301", r"\pS": "\U0001f600", r"\p{Latin}": "ak\u212a", r"\p{Cs}": "a",
}  # fmt: skip
POSIX = {
    "alnum": "a0", "alpha": "az", "ascii": "a\x7f", "blank": " \t", "cntrl": "\x00\n", "digit": "09", "graph": "a.",
    "lower": "az", "print": "a ", "punct": "-./", "space": " \v", "upper": "KS", "word": "a_", "xdigit": "a0",
}  # fmt: skip
ESCAPES = {
    r"\n": "\n", r"\t": "\t", r"\v": "\v", r"\f": "\f", r"\r": "\r", r"\a": "\a", r"\x6b": "k", r"\x{212A}": "\u212a",
    r"\x{1F600}": "\U0001f600", r"\x{00000061}": "a", r"\101": "A", r"\012": "\n", r"\0": "\x00", r"\.": ".",
    r"\-": "-", r"\/": "/", r"\_": "_", r"\x00": "\x00", r"\x{10FFFF}": "\U0010ffff",
}  # fmt: skip
BAD = [
    r"\C", r"\1", r"\8", r"\Z", r"\G", r"\E", r"\é", r"\x{D800}",
    r"\x{110000}", r"\xg0", r"\p{greek}", r"\p{Cn}", "(?=a)",
    "(?!a)", "(?x)", "(?#a)", "(?>a)", "(?P=n)", "(?P<a-b>a)", "a**", "a{2}{3}",
    "a{1001}", "a{3,2}", "[b-a]", "[[:foo:]]",
    "(?i-)", "(?-)", "|*", "(*)", "(?:a{40}){40}", "[a", "(", ")", "\\",
]  # fmt: skip
RAW = [
    *"ab1k-^$.|*+?{}[](),:<>&~#\\\n ",
    "(?",
    "(?:",
    "(?i)",
    "(?P<n>",
    "[[:",
    ":]",
    "[^",
    "&&",
    "--",
    "~~",
    "{2}",
    "{,2}",
]
RAW += [
    "{1,",
    r"\d",
    r"\pL",
    r"\p{",
    r"\x{",
    r"\Q",
    r"\E",
    r"\b",
    r"\z",
    r"\A",
    "é",
    "\U0001f600",
    "{01}",
    "(?-s",
    "\\0",
]


class Grammar:
    """What one seed makes."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def pattern(self) -> tuple[str, str]:
        """A pattern, and a text that it may match."""
        kind = self._rng.random()
        if kind < 0.15:
            raw = "".join(self._rng.choice(RAW) for _ in range(self._rng.randint(1, 8)))
            return raw, raw
        pattern, text = self._alternatives(4)
        if kind < 0.2:
            return pattern + self._rng.choice(BAD), text
        return pattern, text

    def near(self, text: str) -> str:
        """The text, or one that is a little off."""
        signs = list(text)
        for _ in range(self._rng.choice((0, 0, 1, 1, 2))):
            at = self._rng.randint(0, len(signs))
            match self._rng.randrange(4):
                case 0:
                    signs.insert(at, self._rng.choice(SIGNS))
                case 1 if signs:
                    del signs[at - 1]
                case 2 if signs:
                    signs[at - 1] = signs[at - 1].swapcase()
                case _ if signs:
                    signs[at - 1] = self._rng.choice(SIGNS)
        return "".join(signs)[:200]

    def _alternatives(self, depth: int) -> tuple[str, str]:
        made = [self._sequence(depth) for _ in range(self._rng.choice((1, 1, 1, 2, 3)))]
        return "|".join(pattern for pattern, _ in made), self._rng.choice(made)[1]

    def _sequence(self, depth: int) -> tuple[str, str]:
        made = [self._repeated(depth) for _ in range(self._rng.choice((0, 1, 1, 2, 3, 4)))]
        return "".join(pattern for pattern, _ in made), "".join(text for _, text in made)

    def _repeated(self, depth: int) -> tuple[str, str]:
        pattern, text = self._piece(depth)
        if self._rng.random() > 0.35:
            return pattern, text
        n, m = self._rng.randint(0, 3), self._rng.randint(0, 4)
        forms = [
            ("*", m),
            ("+", m + 1),
            ("?", m % 2),
            (f"{{{n}}}", n),
            (f"{{{n},}}", n + m),
            (f"{{{n},{n + m}}}", n + m % 2),
        ]
        sign, times = self._rng.choice(forms)
        return pattern + sign + self._rng.choice(("", "", "?")), (text * times)[:100]

    def _piece(self, depth: int) -> tuple[str, str]:
        rng = self._rng
        kind = rng.random()
        if kind < 0.3:
            sign = rng.choice(SIGNS)
            return ("\\" + sign if sign in ".\\" else sign), sign
        if kind < 0.4:
            return ".", rng.choice(SIGNS)
        if kind < 0.82:
            return self._class_or_place(kind)
        if kind < 0.85:
            quoted = "".join(rng.choice("a.*+[(|^$é") for _ in range(rng.randint(0, 3)))
            return rf"\Q{quoted}\E", quoted
        if depth == 0:
            return "a", "a"
        pattern, text = self._alternatives(depth - 1)
        return rng.choice(
            ("(", "(?:", "(?i:", "(?s:", "(?m:", "(?is-m:", "(?-i:", "(?U:", "(?P<n>", "(?<n>")
        ) + pattern + ")", text

    def _class_or_place(self, kind: float) -> tuple[str, str]:
        rng = self._rng
        if kind < 0.5:
            return rng.choice(list(ESCAPES.items()))
        if kind < 0.6:
            name, members = rng.choice(list(SETS.items()))
            return name, rng.choice(members)
        if kind < 0.75:
            return self._bracket()
        return rng.choice(("^", "$", r"\b", r"\B", r"\A", r"\z", "(?i)", "(?s)", "(?m)", "(?U)", "(?-i)", "(?)")), ""

    def _bracket(self) -> tuple[str, str]:
        rng = self._rng
        parts, text = [], "a"
        for _ in range(rng.randint(1, 4)):
            kind = rng.random()
            if kind < 0.3:
                text = rng.choice([*SIGNS, *"[&~^-"])
                parts.append(text)
            elif kind < 0.5:
                low, high = sorted(rng.sample(SIGNS, 2))
                parts.append(f"{low}-{high}")
                text = rng.choice((low, high))
            elif kind < 0.65:
                name = rng.choice(list(POSIX))
                text = rng.choice(POSIX[name])
                parts.append(f"[:{rng.choice(('', '', '^'))}{name}:]")
            elif kind < 0.8:
                name, members = rng.choice(list(SETS.items()))
                parts.append(name)
                text = rng.choice(members)
            elif kind < 0.9:
                escape, text = rng.choice(list(ESCAPES.items()))
                parts.append(escape)
            else:
                text = "&"
                parts.append(rng.choice(("&&", "--", "~~", "[")))
        return f"[{rng.choice(('', '', '^', ']'))}{''.join(parts)}]", text
