"""`python -m localmesh FOLDER`: serve a folder of Istio YAML until told to end.

`... token` prints a token, `... env` the variables of a workload.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import shlex
import signal
import sys
import threading
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localmesh import ConfigError, LocalMesh, LocalMeshError
from localmesh.ca import AUDIENCE, TokenIssuer
from localmesh.ca.bundle import ROOTS, holds_bundle
from localmesh.ca.tokens import LIFETIME, check_claims
from localmesh.workload import IP, OF_IDENTITIES, SERVICE_ACCOUNT, plaintext_environment, secure_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PLAIN, SECURE = "127.0.0.1:15010", "127.0.0.1:15012"  # where a mesh listens unless told otherwise
_CA = "the folder of the certificate authority; made there when it is missing"
_IGNORE = "serve as if documents of this kind were not there, an AuthorizationPolicy for example; may be said often"
_EXAMPLE = """\
example:
  python -m localmesh examples/mesh --listen 127.0.0.1:15010

  python -m localmesh examples/mesh --secure-listen 127.0.0.1:15012 --ca ca/
  python -m localmesh token --ca ca/ --namespace demo --service-account web
  eval "$(python -m localmesh env --ca ca/ --namespace demo --service-account web)"

The folder holds ServiceEntry, WorkloadEntry, VirtualService, DestinationRule, PeerAuthentication,
RequestAuthentication and AuthorizationPolicy, or Kubernetes' Service and EndpointSlice, and may hold a mesh.yaml (for
example "enableAutoMtls: false"). A change is served at once; a file that is wrong is named with its line, and what was
served before stays. On the secure port clients prove who they are by the tokens that the command "token" prints, and
get certificates; ca/root-cert.pem is what they trust.
"""


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m localmesh",
        description="Serve a folder of Istio YAML over xDS, as istiod would.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", help="the folder of Istio YAML (read with its subfolders), or one file")
    parser.add_argument(
        "--listen", default=PLAIN, metavar="HOST:PORT", help="default: %(default)s; port 0 takes a free one"
    )
    parser.add_argument(
        "--secure-listen", metavar="HOST:PORT", help="serve with TLS and authentication too, and sign certificates"
    )
    parser.add_argument("--ca", metavar="FOLDER", help=_CA)
    parser.add_argument("--ignore", metavar="KIND", action="append", default=[], help=_IGNORE)
    parser.add_argument(
        "--auto-mtls",
        action=argparse.BooleanOptionalAction,
        help="whether workloads that can are called with mutual TLS; otherwise as mesh.yaml says (enableAutoMtls)",
    )
    return parser


def _token_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m localmesh token", description="Print a token of a service account, as Kubernetes projects it."
    )
    parser.add_argument("--ca", metavar="FOLDER", required=True, help=_CA)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--service-account", required=True)
    parser.add_argument("--audience", default=AUDIENCE, help="default: %(default)s")
    parser.add_argument("--lifetime", type=float, default=LIFETIME, metavar="SECONDS", help="default: %(default)s")
    return parser


def _env_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m localmesh env", description="Print what a shell has to export for a workload of the mesh."
    )
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--service-account", default=SERVICE_ACCOUNT, help="default: %(default)s")
    parser.add_argument("--ca", metavar="FOLDER", help="for an identity; the workload's token is kept in it")
    parser.add_argument("--discovery-address", metavar="HOST:PORT", help=f"default: {PLAIN}, with --ca {SECURE}")
    parser.add_argument("--ip", default=IP, help="where the workload serves; default: %(default)s")
    return parser


class _Parser(argparse.ArgumentParser):
    """Says which option was meant."""

    def parse_args(self, *given: Any, **more: Any) -> Any:
        found, rest = self.parse_known_args(*given, **more)
        for argument in rest:
            name, _, _ = argument.partition("=")
            meant = get_close_matches(name, self._option_string_actions, n=1) if name.startswith("-") else []
            self.error(f"there is no option {name}" + (f": did you mean {meant[0]}?" if meant else ""))
        return found


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """What a folder holds has no cycles and is there to stay: to search it again and again would cost each edit."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # this is the program's output


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 when told to end, 1 when the folder or the address cannot be served."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what its C core writes on terminals is for its developers
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["token"]:
        return print_token(**vars(_token_parser().parse_args(arguments[1:])))
    if arguments[:1] == ["env"]:
        return print_environment(**vars(_env_parser().parse_args(arguments[1:])))
    parser = _parser()
    options = parser.parse_args(arguments)
    meant = get_close_matches(options.folder, ("token", "env"), n=1)
    if meant and not Path(options.folder).exists():
        parser.error(f"there is no command and no folder {options.folder!r}: did you mean {meant[0]!r}?")
    if options.secure_listen and not options.ca:
        parser.error("--secure-listen needs --ca FOLDER, where clients find the root certificate")
    return serve(**vars(options))


def print_token(ca: str, namespace: str, service_account: str, audience: str, lifetime: float) -> int:
    """Returns the exit status, 1 if the folder's key cannot be used."""
    try:
        check_claims(namespace, service_account, lifetime)
        if not holds_bundle(Path(ca)):
            sys.stderr.write(f"{ca} holds no certificate authority: name the --ca folder of a mesh that was started\n")
            return 1
        _say(TokenIssuer(Path(ca)).mint(namespace, service_account, audience=audience, lifetime=lifetime))
    except (LocalMeshError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def print_environment(
    namespace: str, service_account: str, ca: str | None, discovery_address: str | None, ip: str
) -> int:
    """Returns the exit status, 1 if there is no such authority or no such workload can be."""
    try:
        check_claims(namespace, service_account, LIFETIME)
        if ca is None:
            variables = plaintext_environment(discovery_address or PLAIN, namespace, service_account, ip)
        elif not holds_bundle(Path(ca)):
            sys.stderr.write(f"{ca} holds no certificate authority: name the --ca folder of a mesh that was started\n")
            return 1
        else:
            token = TokenIssuer(Path(ca)).mint(namespace, service_account)
            roots, secrets = Path(ca, ROOTS).read_bytes(), Path(ca, "workloads")
            variables = secure_environment(
                discovery_address or SECURE, namespace, service_account, ip, token=token, roots=roots, secrets=secrets
            )
    except (LocalMeshError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if ca is None:
        _say(f"unset {' '.join(OF_IDENTITIES)}")  # of a workload that this shell stood for before
    for name, value in variables.items():
        _say(f"export {name}={shlex.quote(value)}")
    return 0


def serve(
    folder: str,
    listen: str,
    secure_listen: str | None,
    ca: str | None,
    ignore: Sequence[str],
    auto_mtls: bool | None = None,
) -> int:
    """Until SIGINT or SIGTERM."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        mesh = LocalMesh(
            folder,
            listen,
            secure_address=secure_listen,
            ca=ca,
            auto_mtls=auto_mtls,
            ignore=ignore,
            on_reload=lambda version: _say(f"version {version} of {folder} is served"),
            on_refusal=lambda _: _say(f"refused; version {mesh.version} of {folder} is still served"),
        )
        with _no_search_for_cycles():
            mesh.start()
    except ConfigError as error:
        sys.stderr.write(f"{folder} cannot be served:\n{error}\n")
        return 1
    except LocalMeshError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if secure_listen is not None:
        _say(f"secure on {mesh.secure_address}, trust {Path(ca or '', ROOTS)}")
    _say(f"serving {folder} on {mesh.address}")
    ended.wait()
    mesh.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
