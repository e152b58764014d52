"""Stock in TigerBeetle as its experts keep it: a bin is an account that cannot be overdrawn.

Opening stock is a transfer to it from the site's supply, a reserve one from it to the site's reservations.
The caller's key is the transfer's id, so a repeat is one that exists. An order is a chain of linked
transfers, which all happen or none; their ids count up from the key.

CI does not run this peer against a server, for there is none: only what needs none is tested.
"""

import zlib
from collections.abc import Iterator, Sequence

from tigerbeetle import (
    Account,
    AccountFlags,
    CreateTransferResult,
    CreateTransferStatus,
    Transfer,
    TransferFlags,
)

from bench.load_process import LoadFailed
from bench.workloads import Workload

CLUSTER = 0
BATCH_MAX = 8_000
"""Transfers or accounts in a call; a message carries some 8,190."""
_LEDGER = _CODE = 1
_IDS = (1 << 128) - 2
"""From 1: the first and the last number are no ids."""
_SITE_SHIFT = 64
_SUPPLY, _RESERVATIONS = 1 << 32, (1 << 32) + 1
"""The sites' other accounts; their bins are numbered below."""
_REFUSED = frozenset((CreateTransferStatus.EXCEEDS_CREDITS, CreateTransferStatus.ID_ALREADY_FAILED))
"""Too little, and the repeat of one that found too little."""
_PASSED_OVER = CreateTransferStatus.LINKED_EVENT_FAILED


def bin_account(workload: Workload, index: int) -> int:
    """Return the id of a bin's account."""
    return _account(workload, index + 1)


def supply_account(workload: Workload) -> int:
    """Return the id of the account that opening stock comes from."""
    return _account(workload, _SUPPLY)


def reservations_account(workload: Workload) -> int:
    """Return the id of the account that reserved units go to."""
    return _account(workload, _RESERVATIONS)


def _account(workload: Workload, number: int) -> int:
    return zlib.crc32(workload.name.encode()) << _SITE_SHIFT | number


def accounts(workload: Workload) -> Iterator[Account]:
    """Return a workload's accounts."""
    for account_id in (supply_account(workload), reservations_account(workload)):
        yield Account(id=account_id, ledger=_LEDGER, code=_CODE)
    for index in range(workload.bins):
        yield Account(
            id=bin_account(workload, index),
            ledger=_LEDGER,
            code=_CODE,
            flags=AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS,
        )


def opening_stock(workload: Workload, on_hand: int) -> Iterator[Transfer]:
    """Return the transfers that make a workload's stock."""
    for index in range(workload.bins):
        account_id = bin_account(workload, index)
        yield Transfer(
            id=account_id,
            debit_account_id=supply_account(workload),
            credit_account_id=account_id,
            amount=on_hand,
            ledger=_LEDGER,
            code=_CODE,
        )


def reserve(workload: Workload, bins: Sequence[int], key: int) -> list[Transfer]:
    """Return the transfers that reserve a unit of each bin, all or nothing, for a key of 128 bits."""
    last = len(bins) - 1
    return [
        Transfer(
            id=(key + line) % _IDS + 1,
            debit_account_id=bin_account(workload, index),
            credit_account_id=reservations_account(workload),
            amount=1,
            ledger=_LEDGER,
            code=_CODE,
            flags=TransferFlags.LINKED if line < last else TransferFlags.NONE,
        )
        for line, index in enumerate(bins)
    ]


def is_reserved(results: Sequence[CreateTransferResult]) -> bool:
    """Return what the results of a reserve's transfers mean: it is reserved, now or before, or refused.

    Raises LoadFailed for any other result.
    """
    told = [result.status for result in results if result.status != _PASSED_OVER]
    if told == [CreateTransferStatus.CREATED] * len(results) or told == [CreateTransferStatus.EXISTS]:
        return True
    if len(told) == 1 and told[0] in _REFUSED:
        return False
    raise LoadFailed(f"TigerBeetle answered {[result.status.name for result in results]}")
