"""Plays histories, or looks for the seeded bugs. `binkeeper simulate` starts it, with its options as JSON.

It is a process of its own because a run is the same only if strings hash the same: see `binkeeper.cli`.
"""

import gc
import itertools
import json
import multiprocessing
import os
import resource
import secrets
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, ForkProcess
from typing import Any

from simulation.mutants import MUTANTS
from simulation.plan import plan
from simulation.report import history, summary
from simulation.run import Result, run
from simulation.shrink import shrink

_SHRINK_TRIES = 150


@dataclass(frozen=True, slots=True)
class Options:
    """What `binkeeper simulate` was asked."""

    runs: int
    seed: int | None
    operations: int
    calm: bool
    calm_after: int | None
    jobs: int
    shrink: bool
    mutants: bool
    within: int
    only: str
    as_json: bool


def main() -> int:
    """Return 0 when every history was clean, or every bug found; 1 otherwise."""
    options = Options(**json.loads(sys.argv[1]))
    warnings.simplefilter("ignore")  # What was under way when a run ended is never awaited.
    gc.freeze()  # Modules stay: not looking at them after each run saves a twentieth of the time.
    if options.mutants:
        return _mutants(options)
    began_s = time.perf_counter()
    results = []
    first = secrets.randbelow(10**9) if options.seed is None else options.seed
    seeds = range(first, first + options.runs)
    _say(f"{options.runs} histories of {options.operations} operations from seed {first}")
    for result in _results(seeds, options):
        results.append(result)
        if result.violation is not None:
            _say(f"seed {result.plan.seed}: {result.violation}")
        elif len(results) % max(1, options.runs // 20) == 0:
            _say(f"{len(results)} of {options.runs} histories")
    report = summary(results, time.perf_counter() - began_s, _cpu_s())
    failed = [result for result in results if result.violation is not None]
    if failed and options.shrink:
        report["shortest"] = {**_shortest(failed[0]), "again": again(failed[0].plan.seed, options)}
    if options.as_json:
        print(json.dumps(report))
    else:
        _show(report)
    return 1 if failed or report["never_happened"] else 0


def _cpu_s() -> float:
    """Return the seconds of processors that histories took: each is a child of this process."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _results(seeds: range, options: Options) -> Iterator[Result]:
    """Play each history in a process of its own, `jobs` at once; they come in the order in which they end."""
    forking = multiprocessing.get_context("fork")
    waiting = iter(seeds)
    playing: dict[Connection, ForkProcess] = {}
    for seed in itertools.islice(waiting, options.jobs):
        playing |= _begin(forking, seed, options)
    while playing:
        for told in wait(list(playing)):
            assert isinstance(told, Connection)
            yield told.recv()
            playing.pop(told).join()
            for seed in itertools.islice(waiting, 1):
                playing |= _begin(forking, seed, options)


def _begin(forking: ForkContext, seed: int, options: Options) -> dict[Connection, ForkProcess]:
    """Start to play a history; return where its result comes from."""
    told, tell = forking.Pipe(duplex=False)
    process = forking.Process(target=_play, args=(seed, options, tell))
    process.start()
    tell.close()
    return {told: process}


def _play(seed: int, options: Options, tell: Connection) -> None:
    drawn = plan(seed, options.operations, faults=not options.calm, calm_after=options.calm_after)
    tell.send(run(drawn, is_last=True))


def _shortest(failed: Result) -> dict[str, object]:
    """Cut a failing history down, and say how to see it again."""
    _say(f"cutting seed {failed.plan.seed} down, {_SHRINK_TRIES} tries")
    found = shrink(failed, _SHRINK_TRIES, _say)
    return {
        "seed": failed.plan.seed,
        "violation": found.violation,
        "operations": len(found.plan.operations),
        "faults": len(found.plan.faults),
        "history": history(found.plan),
    }


def again(seed: int, options: Options) -> str:
    """Return the command that plays a history again, whatever it was played with."""
    command = f"binkeeper simulate --runs 1 --seed {seed} --operations {options.operations}"
    command += " --calm" if options.calm else ""
    return command + (f" --calm-after {options.calm_after}" if options.calm_after is not None else "")


def _mutants(options: Options) -> int:
    """Look for each seeded bug."""
    rows: list[dict[str, object]] = []
    for mutant in [mutant for mutant in MUTANTS if options.only in mutant.name]:
        found: Result | None = None
        beside: list[str] = []
        """Findings that name another promise: they do not count."""
        for number in range(1, options.within + 1):
            with mutant.patch():
                result = run(plan((options.seed or 0) + number, options.operations))
            if mutant.is_named_by(result.violation):
                found = result
                break
            if result.violation is not None:
                beside.append(result.violation)
        promises = " ".join(sorted(mutant.promises))
        rows.append(
            {
                "mutant": mutant.name,
                "breaks": promises,
                "histories": number,
                "found": found is not None and found.violation,
                "beside": beside,
            }
        )
        _say(f"{mutant.name}: " + (f"found in history {number}" if found else f"not found in {number}"))
        for violation in beside[:3]:
            _say(f"    breaks {promises}, and this was found: {violation}")
    if options.as_json:
        print(json.dumps(rows))
    else:
        for row in rows:
            where = row["histories"] if row["found"] else "not found"
            print(f"{row['mutant']:<48} {row['breaks']:<10} {where:>10}  {row['found'] or row['beside']}")
    return 0 if rows and all(row["found"] for row in rows) else 1


def _show(report: dict[str, Any]) -> None:
    shortest = report.pop("shortest", None)
    for name, value in report.items():
        if isinstance(value, dict):
            print(f"\n{name.replace('_', ' ')}")
            for what, count in sorted(value.items()):
                print(f"  {what:<52} {count:>9}")
        elif name == "never_happened":
            for what in value:
                print(f"never happened: {what}")
        elif name != "violations":
            print(f"{name.replace('_', ' '):<22} {value}")
    for violation in report["violations"]:
        print(f"seed {violation['seed']}: {violation['violation']}")
    if shortest is not None:
        print(f"\nthe shortest history found: {shortest['violation']}")
        print("\n".join(shortest["history"]))
        print(f"\nagain: {shortest['again']}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # What seeded bugs left under way would log how it ends.
