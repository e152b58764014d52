"""What Binkeeper's own checks say: the auditor of each host that owns partitions, and `binkeeper verify`."""

import asyncio
import json
import re

from tests.end_to_end.running import Running
from tests.waiting import until

AUDITED_S_MAX = 300.0
"""For two rounds, about 2,000 entries a second each, fewer when hosts are busy."""
_DRIFT = re.compile(r"^binkeeper_drift\S* (\S+)$", re.MULTILINE)
_ROUNDS = re.compile(r'^binkeeper_audit_rounds_total{host="(.+)"} (\S+)$', re.MULTILINE)
_PARTITIONS = re.compile(r'^binkeeper_partitions{host="(.+)"} (\S+)$', re.MULTILINE)


async def _metrics(binkeeper: Running) -> str:
    async with binkeeper.http() as http:
        return (await http.get(binkeeper.run["url"] + "/metrics")).text


async def audit_rounds(binkeeper: Running) -> dict[str, int]:
    """Return how often each host that owns partitions has compared all that it owns with the ledger."""
    text = await _metrics(binkeeper)
    rounds = {host: int(float(count)) for host, count in _ROUNDS.findall(text)}
    return {host: rounds.get(host, 0) for host, count in _PARTITIONS.findall(text) if float(count)}


async def audited(binkeeper: Running) -> None:
    """Wait until each host has done a round that it began just now. Raises AssertionError."""
    before = await audit_rounds(binkeeper)

    async def is_done() -> bool:
        now = await audit_rounds(binkeeper)
        # The first round to end may have begun long ago.
        return bool(now) and all(count >= before.get(host, 0) + 2 for host, count in now.items())

    await until(is_done, "all that is owned has been compared", AUDITED_S_MAX)


async def drift(binkeeper: Running) -> list[str]:
    """Return what hosts say of memory, snapshot and ledger that differ, which must be nothing."""
    units = [float(value) for value in _DRIFT.findall(await _metrics(binkeeper))]
    return [] if units and not any(units) else [f"drift {units}"]


def unverified(binkeeper: Running) -> list[str]:
    """Return what `binkeeper verify` finds in the whole database, which must be nothing."""
    done = binkeeper.ask("verify", "--json")
    if done.returncode == 0 and json.loads(done.stdout)["clean"]:
        return []
    return [f"verify ended with {done.returncode}: {done.stdout or done.stderr}"]


async def at_rest(binkeeper: Running) -> list[str]:
    """Return what a whole round of every auditor finds, and `binkeeper verify` after it."""
    await audited(binkeeper)
    return await drift(binkeeper) + await asyncio.to_thread(unverified, binkeeper)
