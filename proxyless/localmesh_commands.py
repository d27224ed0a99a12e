"""`proxyless localmesh FOLDER`, and its `env` and `token`: what `python -m localmesh` does, if it is installed."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from proxyless.style import SETTINGS, Verbose, examples

if TYPE_CHECKING:
    from types import ModuleType

_EXTRA = ("watchfiles", "yaml")
_TWELVE_HOURS = 43_200.0


_SERVING = (
    "proxyless localmesh examples/demo/mesh --listen 127.0.0.1:15010",
    "proxyless localmesh examples/demo/mesh --secure-listen 127.0.0.1:15012 --ca ca/",
)
_EXPORTING = 'eval "$(proxyless localmesh env --ca ca/ --namespace demo --service-account web)"'


class _ServeByDefault(TyperGroup):
    """What is not the name of a command is a folder to serve."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            meant = get_close_matches(args[0], self.commands, n=1)
            if meant and not Path(args[0]).exists() and not ctx.resilient_parsing:
                raise typer.BadParameter(f"there is no command and no folder {args[0]!r}. Did you mean {meant[0]!r}?")
            args.insert(0, "serve")
        return super().parse_args(ctx, args)


localmesh = typer.Typer(
    cls=_ServeByDefault,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=SETTINGS,
    help="The embedded control plane, for laptops and tests: proxyless localmesh FOLDER is proxyless localmesh serve "
    "FOLDER, whose --help lists the options.",
    epilog=examples(*_SERVING, _EXPORTING),
)

Ca = Annotated[
    str | None, typer.Option(metavar="FOLDER", help="The certificate authority's folder; made when it is missing.")
]


@localmesh.command(short_help="Serve a folder as a control plane.", epilog=examples(*_SERVING))
def serve(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="The folder of Istio YAML, read with its subfolders, or one file.")
    ],
    *,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Port 0 takes a free one.")] = "127.0.0.1:15010",
    secure_listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Serve with TLS and authentication too, sign certificates.")
    ] = None,
    ca: Ca = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND", help="Serve as if there were no AuthorizationPolicy, for example. May be said often."
        ),
    ] = None,
    auto_mtls: Annotated[
        bool | None,
        typer.Option(
            help="Whether workloads that can are called with mutual TLS; otherwise as mesh.yaml says (enableAutoMtls)."
        ),
    ] = None,
    verbose: Verbose = 0,
) -> None:
    """Serve a folder of Istio YAML as a control plane. `proxyless localmesh FOLDER` does it too."""
    del verbose
    if secure_listen and not ca:
        raise typer.BadParameter(
            "needs --ca FOLDER, where clients find the root certificate", param_hint="secure-listen"
        )
    raise typer.Exit(_program().serve(folder, listen, secure_listen, ca, ignore or (), auto_mtls))


@localmesh.command(
    short_help="Print a service account's token.",
    epilog=examples("proxyless localmesh token --ca ca/ --namespace demo --service-account web"),
)
def token(
    *,
    ca: Annotated[str, typer.Option(metavar="FOLDER", help="The certificate authority's folder.")],
    namespace: Annotated[str, typer.Option(metavar="NAME")],
    service_account: Annotated[str, typer.Option(metavar="NAME")],
    audience: Annotated[str, typer.Option(metavar="NAME")] = "istio-ca",
    lifetime: Annotated[float, typer.Option(metavar="SECONDS")] = _TWELVE_HOURS,
) -> None:
    """Print a token of a service account, as Kubernetes projects it into a pod."""
    raise typer.Exit(_program().print_token(ca, namespace, service_account, audience, lifetime))


@localmesh.command(
    short_help="Print a workload's variables.",
    epilog=examples('eval "$(proxyless localmesh env --namespace demo)"', _EXPORTING),
)
def env(
    *,
    namespace: Annotated[str, typer.Option(metavar="NAME")],
    service_account: Annotated[str, typer.Option(metavar="NAME")] = "default",
    ca: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="For an identity; the workload's token is kept in it.")
    ] = None,
    discovery_address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="127.0.0.1:15010, or with --ca 127.0.0.1:15012.")
    ] = None,
    ip: Annotated[str, typer.Option(metavar="ADDRESS", help="Where the workload serves.")] = "127.0.0.1",
) -> None:
    """Print what a shell has to export for a workload of the mesh."""
    raise typer.Exit(_program().print_environment(namespace, service_account, ca, discovery_address, ip))


def _program() -> ModuleType:
    try:
        import localmesh.__main__ as program  # noqa: PLC0415  its dependencies are an extra
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    return program
