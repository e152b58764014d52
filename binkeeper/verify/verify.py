"""`binkeeper verify`: looks at a whole database, tells what does not fit, on request rebuilds snapshots."""

import asyncio
import contextlib
import gc
from collections.abc import Iterator

import asyncpg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from binkeeper.errors import StartError
from binkeeper.settings import Settings
from binkeeper.verify.database import Database, database_of
from binkeeper.verify.examination import Examination, Report
from binkeeper.verify.findings import Sort
from binkeeper.verify.replay import Image
from persistence.ports import Head, Snapshots, Unavailable, UnsafeDatabase
from persistence.postgres import PostgresSnapshots, PostgresSurvey, Sessions
from persistence.survey import Record, Survey

_SHOWN_MAX = 10
"""Places that a person is shown."""
_OF_CHANGED_ROWS = (
    "rows whose checksum does not hold were changed after they were written: bring them back as they were,"
    " from a backup or the stream LEDGER, and see 'A ledger that is refused' in docs/operations.md"
)


def verify(settings: Settings, *, rebuild_snapshots: bool, console: Console) -> Report:
    """Look at the database of `settings`; progress goes to `console`.

    Raises StartError when it cannot be looked at, or when snapshots are to be written while
    owners are at work.
    """
    with database_of(settings) as database:
        if rebuild_snapshots and database.is_running and settings.postgres_url is None:
            raise StartError(f"snapshots are rebuilt while nothing runs: stop {settings.home}")
        try:
            return asyncio.run(_verify(database, rebuild_snapshots=rebuild_snapshots, console=console))
        except (Unavailable, UnsafeDatabase) as fault:
            raise StartError(f"the database of {database.told} cannot be verified: {fault}") from fault
        except asyncpg.InterfaceError as fault:
            raise StartError(f"the database of {database.told} cannot be reached: {fault}") from fault
        except asyncpg.PostgresError as fault:  # Its tables are not as its version says.
            raise StartError(f"the database of {database.told} is another version's: {fault}") from fault


async def _verify(database: Database, *, rebuild_snapshots: bool, console: Console) -> Report:
    sessions = Sessions(database.url, "verify", size=2)
    try:
        await _reach(sessions, database)
        survey = PostgresSurvey(sessions)
        if rebuild_snapshots and (others := await survey.others_at_work()):
            raise StartError(f"snapshots are rebuilt while nothing runs: {', '.join(others)} are connected")
        snapshots = PostgresSnapshots(sessions) if rebuild_snapshots else None
        return await examine(survey, snapshots, console)
    finally:
        await sessions.close()


async def _reach(sessions: Sessions, database: Database) -> None:
    """Connect once: only then is its URL taken apart. Raises StartError at one that cannot be."""
    try:
        async with sessions.session():
            pass
    except ValueError as fault:
        raise StartError(f"the URL of {database.told} cannot be read: {fault}") from fault


async def examine(survey: Survey, snapshots: Snapshots | None, console: Console) -> Report:
    """Look at everything as of one instant; `snapshots` are rewritten where they do not fit the ledger."""

    async def mend(record: Record, image: Image) -> None:
        assert snapshots is not None
        head = Head(record.partition, record.epoch, 0, image.seq, image.at_ms)
        if not await snapshots.replace(head, image.rows):
            raise StartError(f"partition {record.partition} was claimed meanwhile: stop what runs")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with survey.view() as view:
        with (
            Progress(*columns, console=console, disable=not console.is_terminal) as progress,
            _garbage_left(),
        ):
            task = progress.add_task("entries", total=await view.entries_about())
            examination = Examination(
                view, lambda count: progress.advance(task, count), mend if snapshots is not None else None
            )
            return await examination.run()


@contextlib.contextmanager
def _garbage_left() -> Iterator[None]:
    """Do not look for garbage: no state points back at what holds it, and a look at all of it takes long."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def show(report: Report, console: Console) -> None:
    """Print a report for a person."""
    rate = report.entries / report.took_s if report.took_s else 0
    console.print(
        f"{report.entries:,} entries of {report.partitions} partitions and {report.rows:,} rows of snapshots"
        f" in {report.took_s:.1f} s ({rate:,.0f} entries/s)",
        highlight=False,
    )
    findings = report.findings
    if not findings.total:
        console.print("[green]everything fits[/]")
        return
    first = findings.first
    assert first is not None
    counts = ", ".join(f"{count} {sort}" for sort, count in sorted(findings.counts.items()))
    console.print(f"[red]{findings.total} do not fit[/]: {counts}", highlight=False)
    console.print(f"the first: {first}", highlight=False, markup=False, soft_wrap=True)
    shown = [finding for finding in findings.kept if finding is not first][:_SHOWN_MAX]
    for finding in shown:
        console.print(f"  {finding}", highlight=False, markup=False, soft_wrap=True)
    if findings.total > len(shown) + 1:
        console.print(f"  and {findings.total - len(shown) - 1} more: --json has the first of each sort")
    if Sort.CHECKSUM in findings.counts:
        console.print(_OF_CHANGED_ROWS, highlight=False, markup=False, soft_wrap=True)
    if report.not_compared:
        numbers = ", ".join(map(str, report.not_compared))
        console.print(
            f"snapshots not compared, since the ledger does not hold: partitions {numbers}", soft_wrap=True
        )
    if report.rebuilt:
        numbers = ", ".join(map(str, report.rebuilt))
        console.print(f"[green]snapshots rebuilt from the ledger[/]: partitions {numbers}", soft_wrap=True)
