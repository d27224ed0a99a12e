"""`python -m localmesh FOLDER`: serve a folder of Istio YAML until told to end."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from typing import TYPE_CHECKING

from localmesh import ConfigError, LocalMesh, LocalMeshError

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXAMPLE = """\
example:
  python -m localmesh examples/mesh --listen 127.0.0.1:15010

The folder holds ServiceEntry, WorkloadEntry, VirtualService and DestinationRule, and may hold a mesh.yaml
(for example "enableAutoMtls: false"). A change is served at once; a file that is wrong is named with its line,
and what was served before stays.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m localmesh",
        description="Serve a folder of Istio YAML over xDS, as istiod would.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", help="the folder of Istio YAML (read with its subfolders)")
    parser.add_argument(
        "--listen", default="127.0.0.1:15010", metavar="HOST:PORT", help="default: %(default)s; port 0 takes a free one"
    )
    return parser


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # this is the program's output


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 when told to end, 1 when the folder or the address cannot be served."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    mesh = LocalMesh(
        options.folder,
        options.listen,
        on_reload=lambda version: _say(f"version {version} of {options.folder} is served"),
        on_refusal=lambda _: _say(f"refused; version {mesh.version} of {options.folder} is still served"),
    )
    try:
        mesh.start()
    except ConfigError as error:
        sys.stderr.write(f"{options.folder} cannot be served:\n{error}\n")
        return 1
    except LocalMeshError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _say(f"serving {options.folder} on {mesh.address}")
    ended.wait()
    mesh.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
