"""gRPC's interop cases by hand, against any other implementation's client or server.

python -m tests.interop server --mode aio                     prints its port, serves until standard input ends
python -m tests.interop client --target 127.0.0.1:PORT        runs every case and says how each went
"""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path

from bench.certificates import Pair
from tests.interop.callers import connect
from tests.interop.cases import CASES
from tests.interop.serving import serving


def main() -> int:
    asked = _arguments()
    if asked.role == "server":
        files = [Path(file).read_bytes() for file in (asked.cert, asked.key) if file]
        with serving(asked.stack, asked.mode, asked.listen, Pair(*reversed(files)) if files else None) as port:
            _say(port)
            sys.stdin.read()
        return 0
    failed = 0
    with connect(
        asked.stack, asked.mode, asked.target, Path(asked.root).read_bytes() if asked.root else None
    ) as caller:
        for name in CASES if asked.case == "all" else [asked.case]:
            try:
                CASES[name](caller)
            except Exception:
                failed += 1
                traceback.print_exc()
                _say(name, "FAILED")
            else:
                _say(name, "passed")
    return 1 if failed else 0


def _say(*words: object) -> None:
    print(*words, flush=True)  # noqa: T201 - a program that is read by people and by pipes


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.interop", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    roles = parser.add_subparsers(dest="role", required=True)
    for role in ("server", "client"):
        of_role = roles.add_parser(role)
        of_role.add_argument("--mode", choices=["sync", "aio"], default="sync")
        of_role.add_argument("--stack", choices=["ours", "grpcio"], default="ours", help="grpcio is the control")
    roles.choices["server"].add_argument("--listen", default="127.0.0.1:0", help="default: a free port")
    roles.choices["server"].add_argument("--cert", help="certificate chain (PEM); with --key: serve TLS")
    roles.choices["server"].add_argument("--key", help="private key (PEM)")
    roles.choices["client"].add_argument("--target", required=True, help="host:port")
    roles.choices["client"].add_argument("--case", choices=["all", *CASES], default="all")
    roles.choices["client"].add_argument("--root", help="root certificates (PEM): use TLS")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
