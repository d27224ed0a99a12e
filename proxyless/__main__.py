"""The command `proxyless`, and `python -m proxyless`. Says which extra is missing before it needs one."""

from __future__ import annotations

import os
import sys

# What `pip install 'proxyless[cli]'` brings and this package imports.
_EXTRA = ("typer", "rich")


def main() -> None:
    """Exit status 0; 1 when the mesh has no such thing or does not answer; 2 when the command is wrong."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what its C core writes on terminals is for its developers
    try:
        from proxyless.commands import app  # noqa: PLC0415  typer and rich may be missing
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        sys.stderr.write(f"the command line needs {missing}: pip install 'proxyless[cli]'\n")
        sys.exit(2)
    app(prog_name="proxyless")


if __name__ == "__main__":
    main()
