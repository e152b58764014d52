"""Runs histories, or the seeded bugs: `python -m simulation --help`. `binkeeper simulate` calls it.

Strings hash by a seed of the process, and sets of them would be walked in another order each time: a run is
the same only if that seed is, so that the program starts itself again with a fixed one.
"""

import argparse
import json
import os
import secrets
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from simulation.mutants import MUTANTS
from simulation.plan import plan
from simulation.report import history, summary
from simulation.run import Result, run
from simulation.shrink import shrink

_SHRINK_TRIES = 150


def main() -> int:
    """Return 0 when every history was clean, or every bug found; 1 otherwise."""
    options = _options()
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-P", "-m", "simulation", *sys.argv[1:]])  # noqa: S606
    warnings.simplefilter("ignore")  # What was under way when a run ended is never awaited.
    if options.mutants:
        return _mutants(options)
    began_s = time.perf_counter()
    results = []
    seeds = range(options.seed, options.seed + options.runs)
    _say(f"{options.runs} histories of {options.operations} operations from seed {options.seed}")
    for result in _results(seeds, options):
        results.append(result)
        if result.violation is not None:
            _say(f"seed {result.plan.seed}: {result.violation}")
        elif len(results) % max(1, options.runs // 20) == 0:
            _say(f"{len(results)} of {options.runs} histories")
    report = summary(results, time.perf_counter() - began_s)
    failed = [result for result in results if result.violation is not None]
    if failed and not options.no_shrink:
        report["shortest"] = _shortest(failed[0])
    if options.json:
        print(json.dumps(report))
    else:
        _show(report)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="binkeeper simulate", description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="how many histories (default 100)")
    parser.add_argument("--seed", type=int, default=None, help="of the first history (default: random)")
    parser.add_argument("--operations", type=int, default=1_000, help="of each history (default 1000)")
    parser.add_argument("--calm", action="store_true", help="no faults")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--no-shrink", action="store_true", help="do not cut a failing history down")
    parser.add_argument("--mutants", action="store_true", help="look for the seeded bugs instead")
    parser.add_argument("--within", type=int, default=200, help="histories to find each bug in (default 200)")
    parser.add_argument("--only", default="", help="bugs whose name contains this")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    for name in ("runs", "operations", "jobs", "within"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be 1 or more")
    if options.seed is None:
        options.seed = 1 if options.mutants else secrets.randbelow(10**9)
    return options


def _results(seeds: range, options: argparse.Namespace) -> Iterator[Result]:
    plans = (plan(seed, options.operations, faults=not options.calm) for seed in seeds)
    if options.jobs == 1:
        yield from map(run, plans)
        return
    with ProcessPoolExecutor(options.jobs) as pool:
        yield from pool.map(run, plans)


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


def _mutants(options: argparse.Namespace) -> int:
    """Look for each seeded bug."""
    rows: list[dict[str, object]] = []
    for mutant in [mutant for mutant in MUTANTS if options.only in mutant.name]:
        found: Result | None = None
        for number in range(1, options.within + 1):
            with mutant.patch():
                result = run(plan(options.seed + number - 1, options.operations))
            if result.violation is not None:
                found = result
                break
        rows.append(
            {"mutant": mutant.name, "histories": number, "found": found is not None and found.violation}
        )
        _say(f"{mutant.name}: " + (f"found in history {number}" if found else f"not found in {number}"))
    if options.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print(
                f"{row['mutant']:<46} {row['histories'] if row['found'] else 'not found':>10}  {row['found']}"
            )
    return 0 if rows and all(row["found"] for row in rows) else 1


def _show(report: dict[str, object]) -> None:
    shortest = report.pop("shortest", None)
    for name, value in report.items():
        if name != "violations":
            print(f"{name.replace('_', ' '):<22} {value}")
    for violation in report["violations"]:  # type: ignore[attr-defined]
        print(f"seed {violation['seed']}: {violation['violation']}")
    if isinstance(shortest, dict):
        print(f"\nthe shortest history found: {shortest['violation']}")
        print("\n".join(shortest["history"]))
        print(f"\nagain: binkeeper simulate --runs 1 --seed {shortest['seed']}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
