"""The act about who may call: a policy for the consumer alone, an intruder whose certificate is good, and tokens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

import grpc

from examples.demo.mesh_folder import CHANGES
from examples.demo.pod import NAMESPACE
from examples.demo.processes import ROOT
from examples.hello.hello_pb2 import HelloRequest
from examples.hello.hello_pb2_grpc import GreeterStub
from localmesh.ca import TokenIssuer
from proxyless import rpc
from proxyless.xds import Bootstrap, PilotExchanger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from examples.demo.mesh_folder import MeshFolder
    from examples.demo.processes import Process
    from examples.demo.report import Report

INTRUDER = "intruder"  # and its service account
IDENTITY = f"spiffe://cluster.local/ns/{NAMESPACE}/sa/{INTRUDER}"
ISSUER = "https://tokens.example.com"  # in tokens.yaml
SUBJECT = "alice"
LIMIT = 15.0  # seconds until a policy holds, and for a call
POLL = 0.1


class Caller:
    """Calls `reviews`; what comes back is one line."""

    def __init__(self, target: str, mesh: PilotExchanger | None = None) -> None:
        self._channel = rpc.insecure_channel(target, mesh=mesh)
        self._stub = GreeterStub(self._channel)

    def hello(self) -> str:
        return _outcome(lambda: self._stub.SayHello(HelloRequest(), timeout=LIMIT).message)

    def list(self, token: str = "") -> str:
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        replies = self._stub.ListHellos
        return _outcome(
            lambda: ", ".join(one.message for one in replies(HelloRequest(count=1), timeout=LIMIT, metadata=metadata))
        )

    def close(self) -> None:
        self._channel.close()


class WhoMayCall:
    """``environment``: the intruder's; it joins the mesh beside the consumer. The consumer's own calls go on."""

    def __init__(
        self,
        mesh: MeshFolder,
        providers: Sequence[Process],
        report: Report,
        target: str,
        environment: Mapping[str, str],
    ) -> None:
        self._mesh = mesh
        self._providers = providers
        self._report = report
        self._exchanger = PilotExchanger(Bootstrap.load(environment))
        self._intruder = Caller(target, self._exchanger)
        self._consumer = Caller(target)
        self._tokens = TokenIssuer(issuer=ISSUER)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._intruder.close()
        self._consumer.close()
        self._exchanger.close()

    def play_the_intruder(self) -> None:
        self._report.say(
            "\n6  An intruder with a certificate of the mesh calls; then a policy lets in the consumer alone"
        )
        before = self._intruder.hello()
        self._report.row("6 an intruder, no policy", f"Hello {IDENTITY}", before, before == f"Hello {IDENTITY}")
        self._add("only-the-consumer.yaml")
        refused = "PERMISSION_DENIED: RBAC: access denied"
        seen = _until(self._intruder.hello, refused)
        self._report.row("  with the policy", refused, seen, seen == refused)
        policy = f"ns[{NAMESPACE}]-policy[only-the-consumer]-rule[0]"
        said = _until(lambda: self._denial_of(IDENTITY), policy)
        self._report.row("  says the provider's log", policy, said, said == policy)
        own = self._consumer.hello()
        self._report.row("  the consumer", "Hello ...", own, own.startswith("Hello "))

    def play_the_tokens(self) -> None:
        self._report.say("\n7  Lists are for whoever has a token of an issuer; the rest of the calls go on without")
        self._add("tokens.yaml", jwks=self._tokens.jwks)
        refused = "PERMISSION_DENIED: RBAC: access denied"
        seen = _until(self._consumer.list, refused)
        self._report.row("7 a list, no token", refused, seen, seen == refused)
        forged = self._consumer.list(self._token(TokenIssuer(issuer=ISSUER)))
        self._report.row("  a forged one", "UNAUTHENTICATED", forged, forged.startswith("UNAUTHENTICATED"))
        good = self._consumer.list(self._token(self._tokens))
        self._report.row("  a good one", f"Hello {SUBJECT}", good, good == f"Hello {SUBJECT}")

    def _token(self, issuer: TokenIssuer) -> str:
        return issuer.sign({"iss": ISSUER, "sub": SUBJECT, "exp": int(time.time() + 3600)})

    def _denial_of(self, identity: str) -> str:
        """By which policy, as a provider's log has it."""
        lines = [line for one in self._providers for line in one.wrote if "denied" in line and identity in line]
        return next((word.rstrip(":") for line in lines for word in line.split() if word.startswith("ns[")), "nothing")

    def _add(self, change: str, jwks: object = None) -> None:
        self._report.say(f"   {(CHANGES / change).relative_to(ROOT)} is added")
        self._mesh.add(change, jwks)


def _until(ask: Callable[[], str], wanted: str) -> str:
    """What it answers, once that is what is wanted, or after `LIMIT` seconds whatever it is."""
    end = time.monotonic() + LIMIT
    while (seen := ask()) != wanted and time.monotonic() < end:
        time.sleep(POLL)
    return seen


def _outcome(call: Callable[[], str]) -> str:
    try:
        return call()
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
