"""TigerBeetle as a peer, as far as it goes without its server: a ledger in memory stands in for it."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tigerbeetle import (
    Account,
    AccountFlags,
    CreateAccountResult,
    CreateAccountStatus,
    CreateTransferResult,
    CreateTransferStatus,
    Transfer,
    TransferFlags,
)

from bench.audit import AuditFailed, Tally, compare
from bench.load_process import LoadFailed
from bench.peers import tigerbeetle_load
from bench.peers.tigerbeetle_load import TigerBeetleLoad
from bench.peers.tigerbeetle_server import TigerBeetleServer, make_stock, missing, units_reserved
from bench.peers.tigerbeetle_stock import is_reserved, reservations_account, reserve
from bench.workloads import Workload, flash_sale, orders, spread

Status = CreateTransferStatus


class Ledger:
    """What TigerBeetle's documentation says of plain and linked transfers, and no more."""

    def __init__(self) -> None:
        self.accounts: dict[int, Account] = {}
        self.transfers: set[int] = set()
        self.failed: set[int] = set()
        self.largest = 0

    async def close(self) -> None:
        """Nothing is open."""

    async def create_accounts(self, accounts: list[Account]) -> list[CreateAccountResult]:
        self.accounts |= {account.id: replace(account) for account in accounts}
        return [CreateAccountResult(1, CreateAccountStatus.CREATED) for _ in accounts]

    async def lookup_accounts(self, ids: list[int]) -> list[Account]:
        return [self.accounts[account_id] for account_id in ids if account_id in self.accounts]

    async def create_transfers(self, transfers: list[Transfer]) -> list[CreateTransferResult]:
        await asyncio.sleep(0)  # As a server's answer does.
        self.largest = max(self.largest, len(transfers))
        assert not transfers[-1].flags & TransferFlags.LINKED
        told: list[Status] = []
        chain: list[Transfer] = []
        for transfer in transfers:
            chain.append(transfer)
            if not transfer.flags & TransferFlags.LINKED:
                told += self._chain(chain)
                chain = []
        return [CreateTransferResult(1, status) for status in told]

    def _chain(self, chain: list[Transfer]) -> list[Status]:
        done: list[Transfer] = []
        for number, transfer in enumerate(chain):
            status = self._one(transfer)
            if status != Status.CREATED:
                for undone in done:
                    self.accounts[undone.debit_account_id].debits_posted -= undone.amount
                    self.accounts[undone.credit_account_id].credits_posted -= undone.amount
                    self.transfers.remove(undone.id)
                if status == Status.EXCEEDS_CREDITS:
                    self.failed.add(transfer.id)
                return [status if at == number else Status.LINKED_EVENT_FAILED for at in range(len(chain))]
            done.append(transfer)
        return [Status.CREATED] * len(chain)

    def _one(self, transfer: Transfer) -> Status:
        if transfer.id in self.transfers:
            return Status.EXISTS
        if transfer.id in self.failed:
            return Status.ID_ALREADY_FAILED
        debit = self.accounts[transfer.debit_account_id]
        is_limited = debit.flags & AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
        if is_limited and debit.debits_posted + transfer.amount > debit.credits_posted:
            return Status.EXCEEDS_CREDITS
        debit.debits_posted += transfer.amount
        self.accounts[transfer.credit_account_id].credits_posted += transfer.amount
        self.transfers.add(transfer.id)
        return Status.CREATED


def results(*statuses: Status) -> list[CreateTransferResult]:
    return [CreateTransferResult(1, status) for status in statuses]


def test_an_order_is_one_chain_with_ids_from_its_key() -> None:
    transfers = reserve(orders(9), (2, 5, 7), (1 << 128) - 4)
    assert [bool(transfer.flags & TransferFlags.LINKED) for transfer in transfers] == [True, True, False]
    assert [transfer.id for transfer in transfers] == [(1 << 128) - 3, (1 << 128) - 2, 1]
    assert len({transfer.debit_account_id for transfer in transfers}) == 3


@pytest.mark.parametrize(
    "statuses, reserved",
    [
        ((Status.CREATED,), True),
        ((Status.CREATED, Status.CREATED), True),
        ((Status.EXISTS,), True),
        ((Status.EXISTS, Status.LINKED_EVENT_FAILED), True),
        ((Status.EXCEEDS_CREDITS,), False),
        ((Status.LINKED_EVENT_FAILED, Status.EXCEEDS_CREDITS), False),
        ((Status.LINKED_EVENT_FAILED, Status.ID_ALREADY_FAILED), False),
    ],
)
def test_results_mean_reserved_or_refused(statuses: tuple[Status, ...], reserved: bool) -> None:
    assert is_reserved(results(*statuses)) is reserved


@pytest.mark.parametrize(
    "statuses",
    [(Status.CREDIT_ACCOUNT_NOT_FOUND,), (Status.EXISTS_WITH_DIFFERENT_AMOUNT, Status.LINKED_EVENT_FAILED)],
)
def test_any_other_result_is_no_figure(statuses: tuple[Status, ...]) -> None:
    with pytest.raises(LoadFailed):
        is_reserved(results(*statuses))


@pytest.mark.parametrize("workload", [spread(20), flash_sale(), orders(20)])
async def test_a_load_books_what_it_is_told(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tigerbeetle_load, "BATCH_MAX", 50)
    ledger = Ledger()
    await make_stock(ledger, workload, 2)
    ledger.largest = 0
    told = await TigerBeetleLoad("", ledger).closed(workload, 1, in_flight=64, warm_s=0.0, seconds=0.02)
    assert told["refused"] > 0
    assert 0 < ledger.largest <= 50
    tally = Tally(workload.bins)
    tally.add({str(index): units for index, units in told["acknowledged"].items()}, {})
    found = await units_reserved(ledger, workload)
    assert max(found) == 2
    assert compare(tally, found, found) == []


async def test_a_repeat_has_one_effect() -> None:
    workload = orders(3)
    ledger = Ledger()
    await make_stock(ledger, workload, 1)
    for _ in range(3):
        assert is_reserved(await ledger.create_transfers(reserve(workload, (0, 1), 7)))
        assert not is_reserved(await ledger.create_transfers(reserve(workload, (1, 2), 90)))
    assert await units_reserved(ledger, workload) == [1, 1, 0]


async def test_books_that_differ_are_no_figure() -> None:
    workload = spread(2)
    ledger = Ledger()
    await make_stock(ledger, workload, 1)
    ledger.accounts[reservations_account(workload)].credits_posted += 1
    with pytest.raises(AuditFailed, match="0 left bins, 1 were reserved"):
        await units_reserved(ledger, workload)


async def test_without_a_server_it_says_why_it_is_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BINKEEPER_TIGERBEETLE", raising=False)
    assert "no tigerbeetle on the PATH" in str(missing())
    server = tmp_path / "server"
    monkeypatch.setenv("BINKEEPER_TIGERBEETLE", str(server))
    assert "cannot be executed" in str(missing())
    with pytest.raises(LoadFailed, match="cannot be executed"):
        async with TigerBeetleServer.started(tmp_path):
            pass
    server.touch(0o755)
    assert missing() is None
