"""Deciding again: what was decided beside a key that the ledger has already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.keyed import look_up
from actors.owned import OwnedPartition
from actors.requests import Status
from actors.retrying import until_available

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.committer import Batch
    from actors.host import Host
    from actors.ownership import Ownership
    from actors.rebuilding import Misfit
    from actors.requests import Request
    from persistence.ports import Recovery


class Rewinding:
    """Takes partitions back to what is committed. `install` takes what was recovered of them."""

    def __init__(self, host: Host, ownership: Ownership, install: Callable[[Recovery], None]) -> None:
        self._host = host
        self._ownership = ownership
        self._install = install

    def rewind(self, keys: frozenset[str], batches: list[Batch]) -> None:
        """Undo what was decided in the partitions of keys that are in the ledger, and decide it again.

        Nothing of it was committed or seen. The repeats among it are answered from the ledger this time.
        """
        host = self._host
        host.gauges.rewinds += 1
        partitions = {
            request.partition for batch in batches for request in batch.requests if request.key in keys
        }
        assert partitions, "a key is taken that nobody asked for"
        given_up = partitions - host.owned.keys()  # While the batch was on its way: lost, or refused.
        self._ownership.give_back([request for batch in batches for request in batch.without(given_up)])
        partitions -= given_up
        requests: dict[int, list[Request]] = {number: [] for number in partitions}
        for batch in batches:
            for request in batch.without(partitions):
                requests[request.partition].append(request)
                self._ownership.forget(request)
        for number in partitions:
            old = host.owned[number]
            fresh = OwnedPartition(number, old.epoch)
            fresh.queue.extend([*requests[number], *old.queue])
            old.queue.clear()
            host.owned[number] = fresh
        host.spawn(self._recover_again(sorted(partitions), keys))

    async def _recover_again(self, partitions: list[int], keys: frozenset[str]) -> None:
        host = self._host
        taken, changed = await look_up(host, sorted(keys))
        recovery = await until_available(lambda: host.snapshots.recover(partitions, 0), host.sleep)
        for entry in taken:
            assert entry.key is not None
            host.keys.remember(entry.key, entry.fingerprint, Status.ANSWERED, None, entry)
        for number in partitions if changed else ():
            self._tell_changed(number, changed)
        self._install(recovery)

    def _tell_changed(self, number: int, changed: dict[str, Misfit]) -> None:
        """Turn away what waits at a partition with a key whose entry is not as it was written."""
        owned = self._host.owned.get(number)
        waiting = list(owned.queue) if owned is not None else []
        for request in waiting:
            if owned is not None and request.key is not None and request.key in changed:
                owned.queue.remove(request)
                self._ownership.tell_refused([request], changed[request.key])
