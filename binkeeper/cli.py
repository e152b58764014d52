"""The command line. Heavy modules are imported by the command that needs them."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli import app as bench
from binkeeper.errors import StartError

app = typer.Typer(
    name="binkeeper",
    help="An actor-based stock engine: every SKU-location bin is an actor.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)

app.add_typer(bench, name="bench")

Home = Annotated[
    Path | None, typer.Option("--home", help="Folder of all embedded data (default .binkeeper).")
]


class Role(StrEnum):
    """Whom a token can be made for."""

    ADMINISTRATOR = "administrator"


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (default 8000).")] = None,
    home: Home = None,
    demo: Annotated[bool, typer.Option(help="Load a small demo warehouse when there is no stock.")] = True,
) -> None:
    """Run the server with all its parts until Ctrl-C."""
    from rich.console import Console  # noqa: PLC0415

    from binkeeper.settings import Settings  # noqa: PLC0415
    from binkeeper.up import up as run  # noqa: PLC0415

    try:
        settings = Settings.read(http_host=host, http_port=port, home=home)
        run(settings, demo=demo, console=Console())
    except StartError as error:
        raise _failure(error) from None


@app.command()
def status(
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the processes by role, the partitions by host, lag and drift."""
    from rich.console import Console  # noqa: PLC0415

    from binkeeper.settings import Settings  # noqa: PLC0415
    from binkeeper.status import show  # noqa: PLC0415
    from binkeeper.status import status as ask  # noqa: PLC0415

    try:
        report = ask(Settings.read(home=home))
    except StartError as error:
        raise _failure(error) from None
    if as_json:
        typer.echo(json.dumps(report))
    else:
        show(report, Console())


@app.command()
def rebalance(
    hosts: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=4096,
            help="How many hosts, until the supervisor starts again (default: as set, at least one a node).",
        ),
    ] = None,
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Spread the partitions evenly over the hosts, and the hosts over the nodes, while all are served."""
    from binkeeper.placement import rebalance as run  # noqa: PLC0415
    from binkeeper.settings import Settings  # noqa: PLC0415

    try:
        _moved(run(Settings.read(home=home), hosts), as_json=as_json)
    except StartError as error:
        raise _failure(error) from None


@app.command()
def isolate(
    site: Annotated[str, typer.Argument(help="The site.")],
    sku: Annotated[str, typer.Argument(help="The hot SKU.")],
    undo: Annotated[bool, typer.Option("--undo", help="Have it share a host again.")] = False,
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Give a hot SKU a host of its own, while it is served."""
    from binkeeper.placement import isolate as run  # noqa: PLC0415
    from binkeeper.settings import Settings  # noqa: PLC0415

    try:
        _moved(run(Settings.read(home=home), site, sku, undo=undo), as_json=as_json)
    except StartError as error:
        raise _failure(error) from None


def _moved(report: dict[str, Any], *, as_json: bool) -> None:
    """Print what was moved."""
    from rich.console import Console  # noqa: PLC0415

    from binkeeper.placement import show  # noqa: PLC0415

    if as_json:
        typer.echo(json.dumps(report))
    else:
        show(report, Console())


@app.command()
def token(
    role: Annotated[str, typer.Option(help="Whom the token is for: administrator.")],
    site: Annotated[str | None, typer.Option(help="The site the role is held at.")] = None,
    home: Home = None,
) -> None:
    """Print an access token."""
    from binkeeper.home import Home as Folder  # noqa: PLC0415
    from binkeeper.settings import Settings  # noqa: PLC0415

    if role not in set(Role):
        raise _failure(StartError(f"there is no role {role!r}; the roles are: {', '.join(Role)}"))
    if site is not None:
        raise _failure(StartError(f"role {role} is not held at a site: leave --site out"))
    try:
        settings = Settings.read(home=home)
        if not settings.home.is_dir():
            raise StartError(f"there is no home {settings.home}: `binkeeper up` makes it")  # noqa: TRY301
        # What runs knows its own token, whatever was set when it was started.
        known = Folder(settings.home).read_run().get("token")
        if not isinstance(known, str):
            admin_token = settings.with_tokens().admin_token
            assert admin_token is not None
            known = admin_token.get_secret_value()
    except StartError as error:
        raise _failure(error) from None
    typer.echo(known)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="Sales as .csv or .csv.gz.")],
    opening_stock: Annotated[
        int | None,
        typer.Option(min=0, help="Units of each SKU received first (default: enough for its sales)."),
    ] = None,
    site: Annotated[
        str | None, typer.Option(help="An empty site (default: one named after the file's content).")
    ] = None,
    url: Annotated[str | None, typer.Option(help="The server (default: the one of --home).")] = None,
    token: Annotated[str | None, typer.Option(help="Its token (default: the one of --home).")] = None,
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the reconciliation as JSON.")] = False,
) -> None:
    """Replay a sales file against the running server and print a reconciliation.

    Exit code 1 when the file cannot be read, the server stops answering, or the figures do not reconcile.
    """
    from rich.console import Console  # noqa: PLC0415

    from binkeeper.client import Stopped, running_server  # noqa: PLC0415
    from binkeeper.reconciliation import show  # noqa: PLC0415
    from binkeeper.replay import replay as run  # noqa: PLC0415
    from binkeeper.settings import Settings  # noqa: PLC0415

    try:
        address, secret = running_server(Settings.read(home=home), url, token)
        progress_console = Console(stderr=True)
        report = run(file, address, secret, opening_stock=opening_stock, site=site, console=progress_console)
    except (StartError, Stopped) as error:
        raise _failure(error) from None
    if as_json:
        typer.echo(json.dumps(report.plain()))
    else:
        show(report, Console())
    if not report.is_reconciled:
        raise typer.Exit(1)


@app.command()
def simulate(  # noqa: PLR0913, PLR0917 - a command has that many options
    runs: Annotated[int, typer.Option(min=1, max=1_000_000, help="Histories.")] = 100,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the first history (default: random).")] = None,
    operations: Annotated[int, typer.Option(min=10, max=100_000, help="Of each history.")] = 1_000,
    calm: Annotated[bool, typer.Option("--calm", help="Without faults.")] = False,
    calm_after: Annotated[
        int | None, typer.Option(min=1, help="Faults before this operation, none after it.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 1,
    shrink: Annotated[bool, typer.Option(help="Cut the first history that fails down.")] = True,
    mutants: Annotated[bool, typer.Option("--mutants", help="Look for the seeded bugs instead.")] = False,
    within: Annotated[int, typer.Option(min=1, help="Histories to find each seeded bug in.")] = 200,
    only: Annotated[str, typer.Option(help="Seeded bugs whose name contains this.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play seeded histories of the engine with faults, and judge every answer, read and broadcast.

    Exit code 1 when a promise was broken, or a seeded bug was not found.
    """
    import os  # noqa: PLC0415
    import sys  # noqa: PLC0415

    options = {
        "runs": runs, "seed": seed, "operations": operations, "calm": calm, "calm_after": calm_after,
        "jobs": jobs, "shrink": shrink,
        "mutants": mutants, "within": within, "only": only, "as_json": as_json,
    }  # fmt: skip
    # Strings hash by a seed of the process, and sets of them are walked by their hashes: it must be fixed.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-P", "-m", "simulation", json.dumps(options)]
    os.execve(sys.executable, command, environment)  # noqa: S606 - it is our own program


@app.command()
def verify(
    home: Home = None,
    rebuild_snapshots: Annotated[
        bool,
        typer.Option(
            "--rebuild-snapshots", help="Write snapshots that do not fit anew; nothing else may run."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the whole database, and name the first entry that does not fit.

    Exit code 0 when everything fits, 1 when something does not, 2 when it cannot be checked.
    """
    from rich.console import Console  # noqa: PLC0415

    from binkeeper.settings import Settings  # noqa: PLC0415
    from binkeeper.verify.verify import show  # noqa: PLC0415
    from binkeeper.verify.verify import verify as run  # noqa: PLC0415

    try:
        settings = Settings.read(home=home)
        report = run(settings, rebuild_snapshots=rebuild_snapshots, console=Console(stderr=True))
    except StartError as error:
        raise _failure(error, 2) from None
    if as_json:
        typer.echo(json.dumps(report.plain()))
    else:
        show(report, Console())
    if not report.is_clean:
        raise typer.Exit(1)


def _failure(error: Exception, code: int = 1) -> typer.Exit:
    """One line on stderr, and the exit code."""
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(code)
