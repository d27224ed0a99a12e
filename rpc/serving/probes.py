"""The probe port: plaintext, for the kubelet, and for nothing but `grpc.health.v1.Health/Check`.

A mesh port under STRICT lets no kubelet in, and a plaintext port with the application on it would let anybody in. So a
probe port answers this one question, on the thread or loop that reads: a busy handler pool does not make a pod unready.
Kubernetes: `readinessProbe: {grpc: {port: …}}`, `livenessProbe: {grpc: {port: …, service: liveness}}`: a pod that is
not ready, for want of a certificate say, becomes no better by a restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from rpc.security.chain import Chain, Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import ServerCall
    from rpc.security.inbound import Following, SecuredPort

_CHECK = "/grpc.health.v1.Health/Check"
# grpc.health.v1.HealthCheckResponse: status = 1 (SERVING), 2 (NOT_SERVING).
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"
# grpc.health.v1.HealthCheckRequest: service = 1. This one asks whether the process answers, ready or not.
_LIVENESS = b"\x0a\x08liveness"


class ProbeCredentials:
    """What makes a port a probe port: plaintext only, and the policy says so with each call."""

    def follow(self, secured_port: SecuredPort) -> Following:
        secured_port.set([Chain(name="probes", transport="raw_buffer", policy=Policy(probes_only=True))])
        return self

    def close(self) -> None:
        """Nothing is followed."""


def answer(call: ServerCall, ready: Callable[[], bool]) -> None:
    """Answer a call that came in by the probe port, once its request is there."""
    if call.path != _CHECK:
        call.finish(grpc.StatusCode.UNIMPLEMENTED.value[0], f"the probe port answers {_CHECK} only", None)
        return

    def when_whole() -> None:
        if call.ended:
            call.unwatch()
            if call.active:
                call.reply(_SERVING if call.request() == _LIVENESS or ready() else _NOT_SERVING, None, None, "")

    call.watch(when_whole)
    when_whole()
