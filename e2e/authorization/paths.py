"""The table's rows by how a path is spelt: what it is to the rules under each of meshConfig's path normalizations.

A rule that is written for one spelling and met by another is how policies are got round, so each row says what becomes
of a path that is denied in plain spelling.
"""

from __future__ import annotations

from e2e.authorization.cases import (
    LET_IN,
    MALFORMED,
    REFUSED,
    Case,
    Policies,
    Request,
    allow,
    closed,
    deny,
    let_in,
    operation,
    policies,
    refused,
    rule,
)
from e2e.authorization.documented import NORMALIZATION

PRACTICES = "https://istio.io/latest/docs/ops/best-practices/security/#customize-your-system-on-path-normalization"

NONE, BASE, MERGE, DECODE = "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"
_MODES = (NONE, BASE, MERGE, DECODE)

_DENIED = (REFUSED,) * 4
_FREE = (LET_IN,) * 4
_FROM_BASE = (LET_IN, REFUSED, REFUSED, REFUSED)
_FROM_MERGE = (LET_IN, LET_IN, REFUSED, REFUSED)
_FROM_DECODE = (LET_IN, LET_IN, LET_IN, REFUSED)

# Denied are /admin and whatever is below /admin/; what becomes of each spelling under each mode.
SPELLINGS = {
    "/admin": _DENIED,
    "/admin/": _DENIED,
    "/admin/users": _DENIED,
    "/admin?a=b": _DENIED,  # 5. the policy removes anything after the question mark
    "/admin/users?a=/../..": _DENIED,
    "/admin?": _DENIED,
    "/public?/admin": _FREE,
    "/ADMIN": _FREE,  # paths are compared with their case
    "/administration": _FREE,
    "/admin;a=b": _FREE,  # a parameter is part of its segment
    "/admin;/users": _FREE,
    "/admin//": _DENIED,
    "/admin/../public": (REFUSED, LET_IN, LET_IN, LET_IN),  # 4. dots are resolved
    "/./admin": _FROM_BASE,
    "/public/../admin": _FROM_BASE,
    "/public/../../admin": _FROM_BASE,
    # Envoy takes the parameters of a plain . and .. away first; Istio says nothing of it.
    "/public/..;/admin": _FROM_BASE,
    "/public/..;a=b/admin": _FROM_BASE,
    "/..;/admin": _FROM_BASE,
    "/.;/admin": _FROM_BASE,
    "/public/x/..;/..;/admin": _FROM_BASE,
    "/admin/..;/public": (REFUSED, LET_IN, LET_IN, LET_IN),
    "/public/%2e%2e;/admin": _FREE,
    "/public/..%3b/admin": _FREE,
    "/public/...;/admin": _FREE,
    "/public\\..;/admin": _FREE,
    "/public%2f..;%2fadmin": _FROM_DECODE,
    "/public/..;%2fadmin": _FROM_DECODE,
    "/.//admin": _FROM_MERGE,
    "/%61dmin": _FROM_BASE,  # 1. a percent-encoded letter
    "/%41dmin": _FREE,
    "/%2561dmin": _FREE,  # normalization happens only once, no double decoding
    "/public/%2e%2e/admin": _FROM_BASE,
    "/public/%2E./admin": _FROM_BASE,
    "/public\\..\\admin": _FROM_BASE,  # 2. a backslash
    "/admin\\users": _FROM_BASE,
    "//admin": _FROM_MERGE,  # 3. several slashes
    "///admin//users": _FROM_MERGE,
    "/public//../admin": _FREE,  # dots take away the empty segment: slashes are merged afterwards
    "/admin%2fusers": _FROM_DECODE,  # 1. %2f
    "/admin%2Fusers": _FROM_DECODE,
    "/%2fadmin": _FROM_DECODE,
    "/admin%5cusers": _FROM_DECODE,  # 1. %5c
    "/public%2f..%2fadmin": _FROM_DECODE,
    "/public/..%2fadmin": _FROM_DECODE,
    "/admin%20": _FREE,
    "/admin%": _FREE,
    "/admin%zz": _FREE,
    "/admin%c0%afusers": _FREE,  # an overlong slash is none
    "/admin#part": (MALFORMED,) * 4,
    "/admin%00": (LET_IN, MALFORMED, MALFORMED, MALFORMED),  # 1. %00: HTTP code 400
}


def _of_mode(number: int, mode: str) -> Policies:
    cases = (Case(path or "(empty)", said[number], Request(path=path)) for path, said in SPELLINGS.items())
    rules = [deny(rule(operation(paths=["/admin", "/admin/*"])))]
    mesh = {"pathNormalization": {"normalization": mode}}
    return policies(f"spelling-{mode}", NORMALIZATION, rules, *cases, mesh=mesh)


_OTHERS = [
    policies(
        "spelling-of-what-is-allowed",
        f"{PRACTICES}: by default BASE",
        [allow(rule(operation(paths=["/public/*"])))],
        let_in("plain", path="/public/a"),
        let_in("dots within", path="/public/a/../b"),
        let_in("a query", path="/public/a?../../admin"),
        let_in("an encoded slash stays", path="/public/..%2fadmin"),
        refused("dots that lead out", path="/public/../admin"),
        refused("encoded dots that lead out", path="/public/%2e%2e/admin"),
        refused("backslashes that lead out", path="/public\\..\\admin"),
        refused("other case", path="/PUBLIC/a"),
        refused("two slashes before", path="//public/a"),
    ),
    policies(
        "spelling-without-a-slash",
        "https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1: a path begins with a slash; Envoy hangs up",
        [deny(rule(operation(paths=["/admin", "/admin/*"])))],
        closed("without a slash", path="admin", ours=MALFORMED),
        closed("a backslash", path="\\admin", ours=MALFORMED),
        closed("an encoded slash", path="%2fadmin", ours=MALFORMED),
        closed("a whole URL", path="http://shop/admin", ours=MALFORMED),
        closed("a star", path="*", ours=MALFORMED),
        closed("nothing", path=""),
    ),
    policies(
        "spelling-and-suffixes",
        f"{NORMALIZATION}: anything after the question mark is removed when comparing with the path",
        [allow(rule(operation(paths=["*/health"])))],
        let_in("plain", path="/a/health"),
        let_in("a query behind", path="/a/health?a=b"),
        refused("in the query", path="/admin?/health"),
        refused("in the query by a path of its own", path="/admin?x=/a/health"),
        refused("a parameter behind", path="/a/health;a"),
        let_in("dots behind", path="/a/health/../health"),
    ),
    policies(
        "spelling-and-templates",
        "https://istio.io/latest/docs/reference/config/security/authorization-policy/#Operation: paths",
        [allow(rule(operation(paths=["/shops/{*}/items"])))],
        let_in("plain", path="/shops/a/items"),
        let_in("a query", path="/shops/a/items?b=/c"),
        let_in("an encoded slash is in the segment", path="/shops/a%2fb/items"),
        let_in("dots", path="/shops/a/b/../items"),
        refused("two segments", path="/shops/a/b/items"),
        refused("an empty segment", path="/shops//items"),
        refused("below it", path="/shops/a/items/b"),
        refused("a slash behind", path="/shops/a/items/"),
        refused("in the query", path="/admin?/shops/a/items"),
    ),
    policies(
        "spelling-denied-by-template",
        "https://istio.io/latest/docs/reference/config/security/authorization-policy/#Operation: paths",
        [deny(rule(operation(paths=["/shops/{*}/secret", "/private/{**}"])))],
        refused("plain", path="/shops/a/secret"),
        refused("a query", path="/shops/a/secret?x"),
        refused("below", path="/private/a/b/c"),
        refused("dots", path="/shops/b/c/../secret"),
        let_in("other case", path="/shops/a/Secret"),
        let_in("a slash behind", path="/shops/a/secret/"),
    ),
]

TABLE = [*(_of_mode(number, mode) for number, mode in enumerate(_MODES)), *_OTHERS]
