"""The command line: `python -m bench figures`, `limits` and `overload`."""

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console

app = typer.Typer(
    name="bench",
    help="Measures Binkeeper against peers and bare limits, and audits what it measured.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


def _measured(measure: Callable[[Any, Callable[[str], None]], Any], plan: object) -> Any:  # noqa: ANN401 - what it measures
    """Measure by a plan, with progress on stderr; end with one line and exit code 1 where it fails."""
    from bench.audit import AuditFailed  # noqa: PLC0415 - the help needs none of it
    from bench.load_process import LoadFailed  # noqa: PLC0415

    progress = Console(stderr=True, log_path=False)
    try:
        return measure(plan, lambda text: progress.log(text, highlight=False))
    except (AuditFailed, LoadFailed) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


@app.command()
def figures(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as one flat JSON object.")
    ] = False,
    quick: Annotated[bool, typer.Option(help="Fewer bins and shorter rounds, for a first look.")] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds of every contender in turn.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Length of a round that counts.")] = None,
    bins: Annotated[int | None, typer.Option(min=1, help="Bins that load is spread over.")] = None,
    resting_bins: Annotated[int | None, typer.Option(min=1, help="Bins for memory and recovery.")] = None,
) -> None:
    """Measure the engine's figures in one run of less than three minutes."""
    from bench.figures import measure  # noqa: PLC0415
    from bench.plan import QUICK, Plan  # noqa: PLC0415
    from bench.report import show  # noqa: PLC0415
    from bench.result import Result  # noqa: PLC0415

    asked = {"rounds": rounds, "seconds": seconds, "bins": bins, "resting_bins": resting_bins}
    given = {name: value for name, value in asked.items() if value is not None}
    plan = dataclasses.replace(QUICK if quick else Plan(), **given)  # type: ignore[arg-type]
    found = _measured(measure, plan)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        run = {"date": datetime.now(UTC).isoformat(), "quick": quick, "seed": plan.seed, "figures": found}
        show(Result.of({**{key: found[key] for key in ("seconds", "commit", "audits")}, **run}), Console())


@app.command()
def limits(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as one flat JSON object.")] = False,
    quick: Annotated[bool, typer.Option(help="Fewer bins and shorter rounds, for a first look.")] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds of every contender in turn.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Length of a round that counts.")] = None,
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
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
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


if __name__ == "__main__":
    app()
