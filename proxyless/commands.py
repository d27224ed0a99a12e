"""The commands and their options. What they print is made in `proxyless.show` and `proxyless.plain`."""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

import proxyless
from proxyless.localmesh_commands import localmesh
from proxyless.plain import plain
from proxyless.show import config_tree, status_lines
from proxyless.style import SETTINGS, Verbose, examples
from xds_client import Bootstrap, BootstrapError, PilotExchanger, Target, TargetMissing
from xds_client.model import InvalidTargetError
from xds_client.settings import unknown_variables

if TYPE_CHECKING:
    from rich.tree import Tree

    from xds_client import TargetConfig

_WIDE = 10_000  # columns when the output is a file or a pipe: nothing is wrapped there
_POLL = 0.02
_ADVICE = "Is it the right control plane? --discovery-address HOST:PORT names another, --timeout waits longer."

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,  # tables with frames leave a narrow terminal no room for the words
    context_settings=SETTINGS,
    pretty_exceptions_enable=False,
    epilog="Settings come from the environment (PROXYLESS_DISCOVERY_ADDRESS, PROXYLESS_NAMESPACE, ...), from the "
    "file that PROXYLESS_CONFIG names, and from the pod.",
)

app.add_typer(localmesh, name="localmesh", short_help="Serve a folder of Istio YAML.")

DiscoveryAddress = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="The control plane; otherwise as the settings say.")
]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", min=0.0, help="How long to wait for the control plane.")]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"proxyless {proxyless.__version__}")
        raise typer.Exit


@app.callback()
def main(
    *,
    verbose: Verbose = 0,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Look at an Istio mesh as a proxyless Python workload sees it."""
    del verbose, version  # their callbacks have done it


@app.command(
    short_help="Show where calls to a target go.",
    epilog=examples(
        "proxyless resolve xds:///reviews.demo:9080",
        "proxyless resolve reviews.demo:9080 --discovery-address 127.0.0.1:15010 --watch",
        "proxyless resolve xds:///reviews.demo:9080 --json | jq '.clusters[].name'",
    ),
)
def resolve(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="xds:///host[.namespace]:port")],
    *,
    timeout: Timeout = 5.0,
    watch: Annotated[bool, typer.Option("--watch", help="Print again at every change, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, on one line when watching.")] = False,
    whole: Annotated[bool, typer.Option("--all", help="With all that the mesh said; JSON always has it.")] = False,
    discovery_address: DiscoveryAddress = None,
    verbose: Verbose = 0,
) -> None:
    """Show where calls to TARGET go: routes in order, clusters, endpoints with locality, weight, health and TLS."""
    del verbose
    try:
        wanted = Target.parse(target)
    except InvalidTargetError as error:
        raise typer.BadParameter(str(error), param_hint="TARGET") from None
    told: queue.SimpleQueue[TargetConfig | TargetMissing] = queue.SimpleQueue()
    with PilotExchanger(_bootstrap(discovery_address)) as exchanger, exchanger.observe_target(wanted, told.put):
        try:
            found = told.get(timeout=timeout)
        except queue.Empty:
            _fail(f"{wanted}: no configuration within {timeout:g} s", *status_lines(exchanger.status()), _ADVICE)
        if isinstance(found, TargetMissing) and not watch:
            _fail(found.reason)
        _print(found, as_json=as_json, compact=watch, whole=whole)
        if not isinstance(found, TargetMissing) and found.past_the_mesh and not watch:
            _fail(found.past_the_mesh)
        while watch:
            changed = told.get()
            if not as_json:
                typer.echo(f"--- changed at {datetime.now().astimezone():%H:%M:%S}")
            _print(changed, as_json=as_json, compact=True, whole=whole)


@app.command(
    short_help="Show who this node is, and whether it is answered.",
    epilog=examples("proxyless status", "proxyless status --discovery-address 127.0.0.1:15010"),
)
def status(
    *,
    timeout: Timeout = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    discovery_address: DiscoveryAddress = None,
    verbose: Verbose = 0,
) -> None:
    """Show who this node is to the control plane and in the mesh, with which settings, and whether it is answered."""
    del verbose
    bootstrap = _bootstrap(discovery_address)
    end = time.monotonic() + timeout
    with PilotExchanger(bootstrap) as exchanger:
        while not (now := exchanger.status()).ready and time.monotonic() < end:
            time.sleep(_POLL)
    if as_json:
        typer.echo(json.dumps({"bootstrap": plain(bootstrap), "status": plain(now)}, indent=2))
    else:
        settings = {**plain(bootstrap.node), "discovery_address": bootstrap.discovery_address}
        settings["security"] = bootstrap.security
        if bootstrap.identity is not None:
            settings |= {"identity": bootstrap.identity.source, **plain(bootstrap.identity)}
            del settings["source"]
        for line in status_lines(now, settings):
            typer.echo(line)
    if not now.ready:
        _fail(_ADVICE)


def _bootstrap(discovery_address: str | None) -> Bootstrap:
    if not logging.getLogger("proxyless").isEnabledFor(logging.INFO):  # with -v the log tells of them
        for said in unknown_variables(os.environ):
            typer.echo(said, err=True)
    given = {"PROXYLESS_DISCOVERY_ADDRESS": discovery_address} if discovery_address else {}
    try:
        return Bootstrap.load({**os.environ, **given})
    except BootstrapError as error:
        _fail(str(error))


def _print(found: TargetConfig | TargetMissing, *, as_json: bool, compact: bool, whole: bool) -> None:
    if as_json:
        typer.echo(json.dumps(plain(found), indent=None if compact else 2))
        return
    shown: Tree | Text = Text(found.reason) if isinstance(found, TargetMissing) else config_tree(found, whole=whole)
    # Made anew each time: the terminal may have been resized.
    Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False).print(shown)


def _fail(*lines: str, exit_status: int = 1) -> NoReturn:
    for line in lines:
        typer.echo(line, err=True)
    raise typer.Exit(exit_status)
