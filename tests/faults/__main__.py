"""All faults, several times: `make faults`, or `python -m tests.faults --rounds 3 --only host`.

Prints a table, and writes it with everything that was found to `build/faults/`.
"""

import argparse
import asyncio
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.end_to_end.running import Running
from tests.faults.audits import at_rest
from tests.faults.grounds import behind_proxy, running, second_api, small_disk
from tests.faults.scenarios import SCENARIOS, Scenario, commits_cut, disk_full, lanes_cut
from tests.faults.stage import Report, play

FOLDER = Path("build/faults")
LANES = "API's lanes cut in mid-frame for 6 s"
COMMITS = {"before": "Postgres cut off before a commit", "after": "Postgres cut off after a commit"}
DISK = "disk full until nothing is answered"


class Runs:
    """What was played so far. Every run has a site of its own and a seed."""

    def __init__(self, seed: int, answers: int, wanted: Callable[[str], bool]) -> None:
        self.reports: list[Report] = []
        self.found: list[str] = []
        """What was wrong after all faults of one kind of ground."""
        self.wanted = wanted
        self._seed = seed
        self._answers = answers

    def play(self, binkeeper: Running, scenario: Scenario, url: str | None = None) -> None:
        self._seed += 1
        began_s = time.monotonic()
        try:
            report = asyncio.run(
                play(
                    binkeeper, scenario.name, scenario.fault, site=f"faults-{self._seed}", seed=self._seed,
                    answers=self._answers, via=scenario.via, url=url, back_s_max=scenario.back_s_max,
                )
            )  # fmt: skip
        except BaseException:
            keep_logs(binkeeper)
            raise
        self.reports.append(report)
        verdict = "; ".join(report.found()) or "clean"
        print(
            f"{scenario.name:<42} seed {self._seed}: {report.operations} operations, "
            f"{report.unknown} unknown, away {report.away_s:.2f} s, back {report.back_s:.2f} s, {verdict} "
            f"[{time.monotonic() - began_s:.0f} s]  {'; '.join(report.notes)}",
            flush=True,
        )

    def rest(self, binkeeper: Running, grounds: str) -> None:
        """Have everything compared once more, by every auditor and by `binkeeper verify`."""
        began_s = time.monotonic()
        found = asyncio.run(at_rest(binkeeper))
        self.found += [f"{grounds}: {one}" for one in found]
        if found:
            keep_logs(binkeeper)
        verdict = "; ".join(found) or "every auditor's drift is 0, and binkeeper verify finds nothing"
        print(f"{grounds}, at rest: {verdict} [{time.monotonic() - began_s:.0f} s]", flush=True)

    def embedded(self, rounds: int) -> None:
        """Faults of `binkeeper up` as a person runs it."""
        scenarios = [scenario for scenario in SCENARIOS if self.wanted(scenario.name)]
        if not scenarios and not self.wanted(LANES):
            return
        with running() as binkeeper:
            for _ in range(rounds):
                for scenario in scenarios:
                    self.play(binkeeper, scenario)
                if self.wanted(LANES):
                    with second_api(binkeeper, self._seed) as (url, flag):
                        self.play(binkeeper, Scenario(LANES, lanes_cut(flag), via="http"), url)
            self.rest(binkeeper, "binkeeper up")

    def proxied(self, rounds: int) -> None:
        """The way to Postgres is cut."""
        if any(map(self.wanted, COMMITS.values())):
            with behind_proxy(self._seed) as (binkeeper, proxy):
                for _ in range(rounds):
                    for rule, name in COMMITS.items():
                        if self.wanted(name):
                            self.play(binkeeper, Scenario(name, commits_cut(proxy, rule)))
                self.rest(binkeeper, "behind a proxy")

    def full(self, rounds: int) -> None:
        """The disk is full."""
        if self.wanted(DISK):
            with small_disk() as (binkeeper, fill):
                for _ in range(rounds):
                    self.play(binkeeper, Scenario(DISK, disk_full(fill)))
                self.rest(binkeeper, "on a small disk")


def keep_logs(binkeeper: Running) -> None:
    """Keep what a run said of itself, and what it would say now: its home goes."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "up.log").write_text("\n".join(line for _, line in binkeeper.lines) + "\n")
    (FOLDER / "status.json").write_text(binkeeper.ask("status", "--json").stdout)
    workers = binkeeper.home.glob("ray/session_latest/logs/worker-*")
    for log in [*(binkeeper.home / "logs").iterdir(), *workers]:
        shutil.copy(log, FOLDER / log.name)


def table(reports: Sequence[Report]) -> list[dict[str, object]]:
    """Return a row for each scenario: how often it was played, and the worst of it."""
    rows = []
    for name in dict.fromkeys(report.scenario for report in reports):
        runs = [report for report in reports if report.scenario == name]
        rows.append(
            {
                "scenario": name,
                "runs": len(runs),
                "operations": sum(run.operations for run in runs),
                "unknown": sum(run.unknown for run in runs),
                "lost": sum(len(run.findings.lost) for run in runs),
                "twice": sum(len(run.findings.twice) for run in runs),
                "other": sum(len(run.findings.invented) + len(run.findings.wrong) for run in runs),
                "back_s_worst": round(max(run.back_s for run in runs), 2),
                "away_s_worst": round(max(run.away_s for run in runs), 2),
            }
        )
    return rows


def told(rows: Sequence[dict[str, object]]) -> Iterator[str]:
    """Go through the lines of the table, in Markdown."""
    heads = ("Fault", "Runs", "Operations", "Unknown", "Lost", "Twice", "Other", "Away, s", "Back after, s")
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield (
            f"| {row['scenario']} | {row['runs']} | {row['operations']:,} | {row['unknown']:,} "
            f"| {row['lost']} | {row['twice']} | {row['other']} | {row['away_s_worst']} "
            f"| {row['back_s_worst']} |"
        )


def main() -> int:
    """Play, and tell; the exit code is 1 when anything was found, or something was back too late."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="how often each fault is played")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; each has the next one")
    parser.add_argument("--answers", type=int, default=1_000, help="answers before the fault, and after it")
    parser.add_argument("--only", default="", help="faults whose name has this in it; several with commas")
    given = parser.parse_args()
    words = [word.strip().lower() for word in given.only.split(",")]
    runs = Runs(given.seed, given.answers, lambda name: any(word in name.lower() for word in words))
    try:
        runs.embedded(given.rounds)
        runs.proxied(given.rounds)
        runs.full(given.rounds)
    finally:
        rows = table(runs.reports)
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
        (FOLDER / "runs.json").write_text(
            json.dumps([asdict(report) for report in runs.reports], indent=2) + "\n"
        )
        print("\n".join(told(rows)))
    return 1 if runs.found or any(report.found() for report in runs.reports) else 0


if __name__ == "__main__":
    sys.exit(main())
