"""`IstiodCa`: a key of our own, in memory only, and a certificate for it from istiod's CA, renewed at half its life.

Confined to the thread that calls `step`. An attempt is one CSR per proof: the token first and, where it is missing or
refused, the certificate that there is. Failures are repeated without end: five times in two seconds, then ever slower.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from xds_client.errors import CertificateError, IdentityError, IssuerError, RootsError
from xds_client.identity.certificate import make_identity, read_chain, to_pem
from xds_client.identity.clock import SYSTEM_CLOCK, Clock
from xds_client.identity.csr import new_key, signing_request
from xds_client.identity.keeper import IdentityKeeper
from xds_client.identity.lifetime import just_issued
from xds_client.identity.signer import Signer
from xds_client.reconnect import ReconnectSchedule

if TYPE_CHECKING:
    from xds_client.identity.access import IstiodAccess
    from xds_client.identity.certificate import Chain, Expected
    from xds_client.identity.lifetime import Lifetime
    from xds_client.identity.proof import Proof
    from xds_client.identity.roots import Trust
    from xds_client.identity.svid import Identity

logger = logging.getLogger(f"proxyless.{__name__}")

LOOK_AT_ROOTS = 5.0  # seconds
# As pilot-agent's citadel client: from 100 ms, doubled, ±10 %; it then leaves the rest to Envoy, which asks again at
# growing intervals of up to 30 s.
_FIRST, _GROWTH, _JITTER, _LONGEST = 0.1, 2.0, 0.1, 30.0


class IstiodCa(IdentityKeeper):
    """An `IdentitySource`: istiod's CA certifies a new key, by the token or by the certificate of before.

    ``ttl``: the seconds to ask for. ``timeout``: the seconds that the CA has to answer one CSR.

    >>> isinstance(rpc.mesh().identity, IstiodCa)  # where nothing else is mounted or set
    True
    """

    def __init__(
        self,
        access: IstiodAccess,
        trust: Trust,
        expected: Expected,
        *,
        ttl: float,
        timeout: float = 10.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(f"istiod's CA at {access.address}", clock)
        self._access = access
        self._trust = trust
        self._expected = expected
        self._ttl = ttl
        self._signer = Signer(ttl, timeout)
        self._schedule = ReconnectSchedule(_FIRST, _LONGEST, clock.spread, growth=_GROWTH, jitter=_JITTER)
        self._chain: Chain = ()
        self._roots_error = ""
        self._due = clock.monotonic()

    def step(self) -> float:
        self._look_at_roots()
        if self._clock.monotonic() >= self._due:
            self._renew()
        self.plan(self._due)
        return max(0.0, min(LOOK_AT_ROOTS, self._due - self._clock.monotonic()))

    def inherit(self) -> None:
        super().inherit()
        self._signer.inherit()

    def interrupt(self) -> None:
        self._signer.cancel()

    # Roots

    def _look_at_roots(self) -> None:
        """Follow the files; whoever observes hears of changed roots under an unchanged certificate."""
        identity = self.current
        vouched_for = self._trust.vouches_for(self._chain)
        try:
            self._trust.reread(self._clock.now())
            self._roots_error = ""
        except RootsError as error:
            if identity is not None and str(error) != self._roots_error:  # without one, renewing says it
                logger.warning("%s; the roots read before stay in use", error)
            self._roots_error = str(error)
        if identity is None:
            return
        roots = to_pem(self._trust.roots(self._clock.monotonic(), self._clock.now()))
        if roots and roots != identity.roots:
            logger.info("the roots of the mesh have changed; %s trusts the new ones", identity.spiffe_id)
            self.publish_roots(roots)
        if vouched_for and not self._trust.vouches_for(self._chain):
            logger.info("the root of %s is not the mesh's any more; it is renewed now", identity.spiffe_id)
            self._due = self._clock.monotonic()

    # Certificates

    def _renew(self) -> None:
        started = self._clock.monotonic()
        try:
            identity, lifetime = self._issue()
        except IdentityError as error:
            self._failed(error)
            return
        self._schedule.reset()
        expires_at = started + lifetime.seconds
        self._due = started + lifetime.renew_after(self._clock.spread)
        self._trust.add_issued(self._chain, expires_at)
        roots = to_pem(self._trust.roots(self._clock.monotonic(), self._clock.now()))
        logger.info(
            "%s certified %s for %.0f s; renewal in %.0f s",
            self.name,
            identity.spiffe_id,
            lifetime.seconds,
            self._due - started,
        )
        self.publish(replace(identity, roots=roots), expires_at, lifetime.warning())

    def _failed(self, error: IdentityError) -> None:
        if self.closing:
            return
        delay = self._schedule.failed()
        self._due = self._clock.monotonic() + delay
        failures = self._schedule.failures
        who = self.held.spiffe_id if self.held else str(self._expected)
        # The first failure and every doubling: an outage of an hour is ten lines, not a hundred.
        loud = failures & (failures - 1) == 0
        self.complain(f"no certificate for {who}: {error}; attempt {failures + 1} in {delay:.1f} s", loud=loud)

    def _issue(self) -> tuple[Identity, Lifetime]:
        """Ask with one proof after the other; raises what the first of them came to, or why there is none."""
        if self._roots_error and self.held is None:
            raise RootsError(self._roots_error)
        proofs, without_token = self._access.proofs(self.current)
        reasons: list[IdentityError] = [without_token] if without_token else []
        for proof in proofs:
            try:
                return self._ask(proof)
            except IssuerError as error:
                reasons.append(error)
        if len(different := {str(reason): reason for reason in reasons}) == 1:
            raise reasons[0]
        raise IssuerError("; and ".join(different))

    def _ask(self, proof: Proof) -> tuple[Identity, Lifetime]:
        key = new_key()
        csr = signing_request(key, self._expected, proof.service_account)
        with self._access.channel(proof, self.current) as channel:
            answer = self._signer.sign(channel, csr, proof, self._access)
        if not answer:
            raise CertificateError(f"{self.name} answered without a certificate; it is no CA for this mesh")
        chain = read_chain(answer, self.name)
        identity = make_identity(chain, key, self._trust.with_chain(chain), self._expected, self.name)
        lifetime = just_issued(identity, self._ttl, self._clock.now(), self.name)
        self._chain = chain
        return identity, lifetime
