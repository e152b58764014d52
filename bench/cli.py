"""The command line: `binkeeper bench`, and `compare`, `limits`, `overload` and `scale` below it."""

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

app = typer.Typer(
    name="bench",
    help="Measure Binkeeper against peers and bare limits on this machine, and audit what was measured.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)

_RESULTS = Path("bench/results")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Rounds = Annotated[int | None, typer.Option(min=1, help="Rounds of every contender in turn.")]
Seconds = Annotated[float | None, typer.Option(min=0.1, help="Length of a round that counts.")]


def _failure(error: Exception) -> typer.Exit:
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(1)


def _measured(measure: Callable[[Any, Callable[[str], None]], Any], plan: object) -> Any:  # noqa: ANN401 - what it measures
    """Measure by a plan, with progress on stderr; end with one line and exit code 1 where it fails."""
    try:
        from bench.audit import AuditFailed  # noqa: PLC0415 - the help needs none of it
        from bench.load_process import LoadFailed  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise _failure(_Missing(error)) from None

    progress = Console(stderr=True, log_path=False)
    try:
        return measure(plan, lambda text: progress.log(text, highlight=False))
    except (AuditFailed, LoadFailed) as error:
        raise _failure(error) from None
    except ModuleNotFoundError as error:
        raise _failure(_Missing(error)) from None


class _Missing(Exception):
    """A peer or a library of the report is not installed."""

    def __init__(self, error: ModuleNotFoundError) -> None:
        super().__init__(f"{error}: peers and pictures are in the development group: run `make venv`")


@app.callback()
def bench(
    context: typer.Context,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Two minutes instead of fifteen.")] = False,
    as_json: Json = False,
    rounds: Rounds = None,
    seconds: Seconds = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 1,
    sales: Annotated[
        Path | None, typer.Option(help="Sales to replay, .csv or .csv.gz (default: made up).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report (default bench/results/<date>).")
    ] = None,
) -> None:
    """Measure everything; write a report with pictures, and print the figures."""
    if context.invoked_subcommand is not None:
        return
    from bench.plan import QUICK, Plan  # noqa: PLC0415
    from bench.report import show, write_report  # noqa: PLC0415
    from bench.result import write  # noqa: PLC0415
    from bench.run import measure  # noqa: PLC0415

    asked = {"rounds": rounds, "seconds": seconds, "seed": seed}
    given = {name: value for name, value in asked.items() if value is not None}
    plan = dataclasses.replace(QUICK if quick else Plan(), **given)  # type: ignore[arg-type]
    result = _measured(lambda plan, say: measure(plan, say, sales), plan)
    folder = out or _RESULTS / result.date[:16].replace(":", "")
    write(result, folder)
    write_report(result, folder)
    if as_json:
        typer.echo(json.dumps(result.figures, indent=1))
    else:
        show(result, Console())
    typer.echo(f"report: {folder / 'report.md'}", err=True)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="A result: its folder, or its result.json.")],
    b: Annotated[Path, typer.Argument(help="Another one.")],
    *,
    as_json: Json = False,
) -> None:
    """Say what changed between two results, with noise taken into account."""
    from bench.compare import as_json as json_of  # noqa: PLC0415
    from bench.compare import compare_files, show_comparison  # noqa: PLC0415
    from bench.result import NotAResult  # noqa: PLC0415

    try:
        found = compare_files(a, b)
    except NotAResult as error:
        raise _failure(error) from None
    if as_json:
        typer.echo(json_of(found))
    else:
        show_comparison(found, Console())


@app.command()
def limits(
    *,
    as_json: Json = False,
    quick: Annotated[bool, typer.Option(help="Fewer bins and shorter rounds, for a first look.")] = False,
    rounds: Rounds = None,
    seconds: Seconds = None,
) -> None:
    """Measure what the figures would be with a host that decides nothing: their ceilings."""
    from bench.limits import measure  # noqa: PLC0415
    from bench.limits_table import show_limits  # noqa: PLC0415
    from bench.plan import QUICK, Plan  # noqa: PLC0415

    given = {name: value for name, value in (("rounds", rounds), ("seconds", seconds)) if value is not None}
    plan = dataclasses.replace(QUICK if quick else Plan(), **given)  # type: ignore[arg-type]
    found = _measured(measure, plan)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        show_limits(found, Console())


@app.command()
def overload(
    *,
    as_json: Json = False,
    seconds: Annotated[float | None, typer.Option(min=1, help="Length of an overload.")] = None,
) -> None:
    """Offer 1.5 and 3 times what the machine carries, by an open loop, and audit what became of it."""
    from bench.overload import OverloadPlan  # noqa: PLC0415
    from bench.overload import overload as run  # noqa: PLC0415
    from bench.overload_bounds import shortcomings  # noqa: PLC0415
    from bench.overload_table import show  # noqa: PLC0415

    plan = OverloadPlan() if seconds is None else OverloadPlan(overload_s=seconds)
    rows = _measured(run, plan)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        show(rows, Console())
    for text in (missing := shortcomings(rows)):
        typer.echo(f"falls short: {text}", err=True)
    if missing:
        raise typer.Exit(1)


@app.command()
def scale(
    result: Annotated[
        Path | None, typer.Argument(help="A result: its folder, or its result.json (default: the newest).")
    ] = None,
    *,
    as_json: Json = False,
    picture: Annotated[Path | None, typer.Option(help="Draw what is carried into this SVG.")] = None,
    page: Annotated[Path | None, typer.Option(help="Replace the tables of this page.")] = None,
    postgres_cores: Annotated[int | None, typer.Option(min=1, help="Of each Postgres server.")] = None,
    postgres_url: Annotated[
        str | None, typer.Option(help="A database whose ledger tells what an entry takes on disk.")
    ] = None,
) -> None:
    """Work out what many hosts and Postgres servers carry, from the costs that a result measured."""
    from bench.basis import ENTRY_BYTES, basis_of, entry_bytes_of, newest  # noqa: PLC0415
    from bench.result import NotAResult  # noqa: PLC0415
    from bench.scale import Site  # noqa: PLC0415
    from bench.scale_table import as_plain, renew, show  # noqa: PLC0415

    if page is not None and postgres_cores is not None:
        raise typer.BadParameter("the page's tables are of the usual number of cores")
    site = Site() if postgres_cores is None else Site(postgres_cores=postgres_cores)
    try:
        entry_bytes = ENTRY_BYTES if postgres_url is None else asyncio.run(entry_bytes_of(postgres_url))
        basis = basis_of(result or newest(_RESULTS), entry_bytes)
        if page is not None:
            renew(page, basis)
        if picture is not None:
            from bench.scale_picture import draw  # noqa: PLC0415 - matplotlib is a development tool

            draw(basis, site, picture)
    except NotAResult as error:
        raise _failure(error) from None
    except ModuleNotFoundError as error:
        raise _failure(_Missing(error)) from None
    if as_json:
        typer.echo(json.dumps(as_plain(basis, site), indent=1))
    else:
        show(basis, site, Console())
