"""How long a certificate lives and when to renew it. Pure functions of dates.

A certificate is dated by the clock of who issued it. Ours may be off by minutes, so of what a CA has just issued we
believe how long it lives, not until when: its lifetime begins when we asked for it, on the monotonic clock. A CA dates
``notBefore`` back (istiod by two minutes), so what is left is the time that was asked for. If the CA gave less, it did
not say how much it dated back: then its dates are believed as far as they shorten the life.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from xds_client.errors import CertificateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from xds_client.identity.svid import Identity

TOLERATED = timedelta(minutes=10)  # how far our clock may be from the issuer's
_NOTEWORTHY = 150.0  # seconds; a little more than istiod dates back
_SOONEST = 1.0  # second; whatever a CA gives, it is not asked more often
_GRACE, _JITTER = 0.5, 0.01  # as pilot-agent: SECRET_GRACE_PERIOD_RATIO and its jitter


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds from when it was asked for. ``skew``: how far our clock seems to be ahead of the issuer's."""

    seconds: float
    skew: float = 0.0

    def renew_after(self, spread: Callable[[float, float], float]) -> float:
        return max(_SOONEST, self.seconds * (1 - _GRACE + spread(-_JITTER, _JITTER)))

    def warning(self) -> str:
        """About a clock that is off; empty when it is not."""
        if abs(self.skew) < _NOTEWORTHY:
            return ""
        return (
            f"this host's clock is about {abs(self.skew):.0f} s {'ahead of' if self.skew > 0 else 'behind'} the CA's; "
            "set it, because certificates of peers are judged by it"
        )


def just_issued(identity: Identity, asked_for: float, now: datetime, origin: str) -> Lifetime:
    """Of what a CA issued now, asked for ``asked_for`` seconds. Raises `CertificateError` when it is none to use."""
    check_dates(identity, now, origin, after=TOLERATED)
    life = (identity.not_after - identity.not_before).total_seconds()
    by_dates = (identity.not_after - now).total_seconds()
    left = min(asked_for, life)
    in_stock = left - by_dates > TOLERATED.total_seconds()  # issued long ago, and handed out now
    if 0 < by_dates < left and (life < asked_for or in_stock):
        return Lifetime(by_dates)
    return Lifetime(left, skew=left - by_dates)


def by_its_dates(identity: Identity, now: datetime, origin: str) -> Lifetime:
    """Of a certificate that somebody else asked for, some time ago."""
    check_dates(identity, now, origin)
    return Lifetime((identity.not_after - now).total_seconds())


def check_dates(identity: Identity, now: datetime, origin: str, after: timedelta = timedelta(0)) -> None:
    """Before its time it is let pass by `TOLERATED`, after it by ``after``."""
    what = f"{origin}: the certificate of {identity.spiffe_id}"
    here = f"(it is {now.isoformat(timespec='seconds')} here): have it renewed, or set this host's clock"
    if now >= identity.not_after + after:
        raise CertificateError(f"{what} expired at {identity.not_after.isoformat()} {here}")
    if now < identity.not_before - TOLERATED:
        raise CertificateError(f"{what} is not valid before {identity.not_before.isoformat()} {here}")
