"""TigerBeetle as a peer, where its server is: one replica on this machine. See `tigerbeetle_stock`.

No wheel brings the server: `missing` says so, and then this peer is not run. CI has none.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from tigerbeetle import ClientAsync, CreateAccountStatus, CreateTransferStatus

from bench.audit import AuditFailed
from bench.load_process import LoadFailed
from bench.peers.server_process import serving
from bench.peers.tigerbeetle_stock import (
    BATCH_MAX,
    CLUSTER,
    accounts,
    bin_account,
    opening_stock,
    reservations_account,
    supply_account,
)
from bench.product import free_port
from bench.workloads import ON_HAND, Workload

SETTING = "BINKEEPER_TIGERBEETLE"
_PROGRAM = "tigerbeetle"
_HOST = "127.0.0.1"

_Event = TypeVar("_Event")


def program() -> str | None:
    """Return the server's program, if there is one."""
    return shutil.which(os.environ.get(SETTING) or _PROGRAM)


def missing() -> str | None:
    """Return why TigerBeetle is not run; None when it can be."""
    if program() is not None:
        return None
    named = os.environ.get(SETTING)
    if named:
        return f"not run: {SETTING} names {named}, which cannot be executed"
    return f"not run: no {_PROGRAM} on the PATH, and {SETTING} names none"


class TigerBeetleServer:
    """A running replica."""

    def __init__(self, address: str, pid: int) -> None:
        self._address = address
        self._pid = pid

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, folder: Path) -> AsyncIterator["TigerBeetleServer"]:
        """A server on a new data file in a folder. Raises LoadFailed."""
        found = program()
        if found is None:
            raise LoadFailed(missing())
        data = str(folder / "0_0.tigerbeetle")
        await _format(found, data)
        port = free_port()
        address = f"{_HOST}:{port}"

        async def answers() -> bool:
            try:
                _, writer = await asyncio.open_connection(_HOST, port)
            except OSError:
                return False
            writer.close()
            return True

        async with serving((found, "start", f"--addresses={address}", data), folder, answers) as process:
            yield cls(address, process.pid)

    @property
    def connection(self) -> dict[str, Any]:
        """What a load needs to connect."""
        return {"address": self._address}

    def pids(self) -> dict[str, list[int]]:
        """Return the server's process, by role."""
        return {"tigerbeetle": [self._pid]}

    async def create(self, *workloads: Workload, on_hand: int = ON_HAND) -> None:
        """Make the stock of the workloads. Raises LoadFailed."""
        async with ClientAsync(CLUSTER, self._address) as client:
            for workload in workloads:
                await make_stock(client, workload, on_hand)

    async def reserved(self, workload: Workload) -> list[int]:
        """Return the units reserved by bin. Raises AuditFailed unless the other accounts say the same."""
        async with ClientAsync(CLUSTER, self._address) as client:
            return await units_reserved(client, workload)


async def make_stock(client: Any, workload: Workload, on_hand: int) -> None:  # noqa: ANN401 - a ClientAsync
    """Make a workload's accounts, and the transfers of its opening stock. Raises LoadFailed."""
    for made in _batches(accounts(workload)):
        results = await client.create_accounts(made)
        _expect(results, CreateAccountStatus.CREATED)
    for sent in _batches(opening_stock(workload, on_hand)):
        results = await client.create_transfers(sent)
        _expect(results, CreateTransferStatus.CREATED)


async def units_reserved(client: Any, workload: Workload) -> list[int]:  # noqa: ANN401 - a ClientAsync
    """Return the units reserved by bin. Raises AuditFailed unless the other accounts say the same."""
    found = []
    for ids in _batches(bin_account(workload, index) for index in range(workload.bins)):
        found += await client.lookup_accounts(ids)
    if len(found) != workload.bins:
        raise AuditFailed(f"TigerBeetle, {workload.name}: {len(found)} bins of {workload.bins}")
    supply, reservations = await client.lookup_accounts(
        [supply_account(workload), reservations_account(workload)]
    )
    units = [int(account.debits_posted) for account in found]
    if sum(units) != reservations.credits_posted or any(
        account.debits_posted > account.credits_posted for account in found
    ):
        said = f"{sum(units)} left bins, {reservations.credits_posted} were reserved"
        raise AuditFailed(f"TigerBeetle, {workload.name}: {said}")
    if sum(account.credits_posted for account in found) != supply.debits_posted:
        raise AuditFailed(f"TigerBeetle, {workload.name}: bins do not have what the supply gave")
    return units


def _expect(results: Sequence[Any], status: CreateAccountStatus | CreateTransferStatus) -> None:
    wrong = [result.status.name for result in results if result.status != status]
    if wrong:
        raise LoadFailed(f"TigerBeetle makes no stock: {wrong[0]}")


def _batches(events: Iterator[_Event]) -> Iterator[list[_Event]]:
    while batch := list(islice(events, BATCH_MAX)):
        yield batch


async def _format(found: str, data: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(found, "format", f"--cluster={CLUSTER}", "--replica=0", "--replica-count=1", data),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaints = await process.communicate()
    if process.returncode:
        lines = complaints.decode(errors="replace").strip().splitlines()
        raise LoadFailed(f"TigerBeetle makes no data file: {lines[-1] if lines else 'it said nothing'}")
