"""Which partitions a host owns: it claims and recovers them, and gives them up when another has them.

Ownership is decided in the ledger alone. What is here makes the host's memory follow it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from actors.owned import OwnedPartition
from actors.rebuilding import Misfit, Rebuilding, changed_row, ends_early
from actors.recovery import restore_partitions
from actors.requests import Request, Status
from actors.retrying import until_available
from actors.rewinding import Rewinding
from persistence.ports import Head, Recovery, RowsChanged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.committer import Batch
    from actors.host import Host

_log = structlog.get_logger()

_LOOK_EVERY_S = 5.0
"""Whoever asks for a partition, or writes to it, finds out at once."""


class Ownership:
    """Takes partitions for a host and gives them up."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._rebuilding = Rebuilding(host)
        self._rewinding = Rewinding(host, self, self._install)
        self._taking = asyncio.Lock()
        self._address = ""
        self._distrusted: set[int] = set()
        """Owned partitions whose snapshots are not to be used: they are rebuilt from the ledger."""
        self._refused: dict[int, int] = {}
        """Epochs of the claims of `Host.refused`: another host may claim those as well."""
        self._has_lost = False
        """Whether anything was ever given up: then others may have decided what is remembered here."""

    # Taking partitions over

    async def take(self, partitions: list[int], address: str) -> None:
        """Claim partitions, recover, serve them. Raises Unavailable: none of them is owned or served then."""
        async with self._taking:
            self._address = address
            await self._take(partitions, address)

    async def _take(self, partitions: list[int], address: str) -> None:
        host = self._host
        started = host.stopwatch()
        again = frozenset(partitions) & host.owned.keys()
        distrusted = self._distrusted & again
        if again:  # Nothing that was decided before the claim may be told after it.
            self.lose(again, [host.committer.open])
        closed = host.committer.closed
        if again or not {entry.partition for entry in closed.entries}.isdisjoint(partitions):
            # The batch on its way has what was lost before, and must not lose what is claimed now.
            await host.committer.passed()
        if self._has_lost:
            host.keys.forget_refusals()
        heads = await host.snapshots.claim(host.options.name, address, partitions, host.clock())
        claimed = {head.partition: OwnedPartition(head.partition, head.epoch) for head in heads}
        host.owned.update(claimed)
        self._distrusted |= distrusted  # They were given up for the claim, and their snapshots are no better.
        for head in heads:
            self._forget_refused(head.partition)
            if head.ends_early:
                self._refuse(claimed[head.partition], ends_early(head))
        most_keys = min(host.options.recovered_keys, host.options.key_window)
        try:
            recovery = await host.snapshots.recover(partitions, most_keys)
        except BaseException:  # Nobody would know that they are owned and not served.
            self.lose(frozenset(n for n, owned in claimed.items() if host.owned.get(n) is owned), [])
            raise
        host.keys.recall(reversed(recovery.recent_keys))
        # One entry an epoch is the claim's own; what else there is may have a key that was not recalled. A
        # refused claim makes none, and comes after a snapshot.
        if any(head.seq > head.epoch or head.snapshot_seq for head in recovery.heads):
            host.keys.is_whole = False
        self._install(recovery)
        host.gauges.recovery_ms = (host.stopwatch() - started) * 1000

    def _install(self, recovery: Recovery) -> None:
        """Rebuild partitions from their snapshots and tails, and serve whoever waits for them.

        Where that does not come out, the snapshot or the ledger is wrong: the ledger alone tells which.
        """
        host = self._host
        misfits = restore_partitions(host, recovery)
        for head in recovery.heads:
            owned = host.owned.get(head.partition)
            if owned is None or owned.is_ready:
                continue
            if owned.epoch == head.epoch:
                number = head.partition
                if number in misfits and number not in self._distrusted:
                    _log.error("snapshot_distrusted", partition=number, why=misfits[number].why)
                if head.ends_early:
                    self._refuse(owned, ends_early(head))
                elif number in misfits or number in self._distrusted:
                    host.spawn(self._rebuild(owned, head))
                else:
                    self._open(owned, head)
            elif owned.epoch < head.epoch:  # Somebody else has taken it while it was read.
                self.lose(frozenset({head.partition}), [])

    def _open(self, owned: OwnedPartition, head: Head) -> None:
        host = self._host
        assert owned.state.seq == head.seq, "a partition is served as of its last entry"
        owned.committed_seq = head.seq
        owned.state.closed_seq = head.seq
        owned.is_ready = True
        for listener in host.on_owned:
            listener(owned)
        host.activator.wake(owned)

    # Where a snapshot or a ledger is wrong

    def distrust(self, number: int, why: str) -> None:
        """Give a partition's state and snapshot up, and rebuild both from the ledger.

        Nothing is decided in it from here on. Nothing that was decided and is not durable happened: its
        callers are sent back and ask again.
        """
        owned = self._host.owned.get(number)
        if owned is not None and number not in self._distrusted:
            self._distrusted.add(number)
            owned.is_ready = False
            self._host.spawn(self._take_again(owned, why))

    def is_distrusted(self, number: int) -> bool:
        """Whether a partition is about to be rebuilt: it is not to be served as it is."""
        return number in self._distrusted

    async def _take_again(self, owned: OwnedPartition, why: str) -> None:
        """Claim a distrusted partition anew, so that nothing that was decided in it becomes durable.

        Rows may differ because another host has claimed it and has written since: then it is given up.
        """
        host, number = self._host, owned.state.number
        lost = await until_available(lambda: host.snapshots.lost({number: owned.epoch}), host.sleep)
        if lost:
            self.lost_since({(number, owned.epoch)})
        if host.owned.get(number) is not owned:
            return
        _log.error("snapshot_distrusted", host=host.options.name, partition=number, why=why)

        async def take() -> None:
            if number in host.owned:
                await self.take([number], self._address)

        await until_available(take, host.sleep)

    async def _rebuild(self, owned: OwnedPartition, head: Head) -> None:
        """Rebuild a partition that was claimed; refuse it if its ledger does not hold."""
        outcome = await self._rebuilding.rebuild(owned, head)
        if outcome is True:
            self._distrusted.discard(head.partition)
            self._open(owned, head)
        elif outcome is not False:
            self._refuse(owned, outcome)

    def refuse(self, owned: OwnedPartition, misfit: Misfit) -> None:
        """Stop to serve a partition of whose ledger somebody has found that it does not hold.

        Nothing that was decided in it and is not on its way yet happened.
        """
        if self._host.owned.get(misfit.partition) is owned:
            self.let_go(frozenset({misfit.partition}), [self._host.committer.open])
            self._refuse(owned, misfit)

    def refuse_changed(self, fault: RowsChanged) -> None:
        """Stop to serve those partitions in whose ledger somebody has read a row that was changed."""
        for number, seq in fault.places.items():
            owned = self._host.owned.get(number)
            if owned is not None:
                self.refuse(owned, changed_row(number, seq))

    def _refuse(self, owned: OwnedPartition, misfit: Misfit) -> None:
        """Do not serve a partition. Whoever waits for it, or comes, is told why."""
        host = self._host
        _log.critical(
            "ledger_refused",
            host=host.options.name,
            partition=misfit.partition,
            seq=misfit.seq,
            why=misfit.why,
        )
        host.refused[misfit.partition] = misfit
        self._refused[misfit.partition] = owned.epoch
        host.owned.pop(misfit.partition, None)
        self._distrusted.discard(misfit.partition)
        requests = list(owned.queue)
        owned.queue.clear()
        self.give_back(requests)

    def _forget_refused(self, number: int) -> None:
        self._host.refused.pop(number, None)
        self._refused.pop(number, None)

    # Giving them up

    async def run(self) -> None:
        """Look now and then whether others own what nobody asks for here; until cancelled."""
        host = self._host
        while True:
            await host.sleep(_LOOK_EVERY_S)
            epochs = self.epochs_of(list(host.owned)) | self._refused
            lost = await until_available(partial(host.snapshots.lost, epochs), host.sleep)
            self.lost_since({(number, epochs[number]) for number in lost})

    def epochs_of(self, partitions: Iterable[int]) -> dict[int, int]:
        """Return the epochs under which partitions are owned."""
        host = self._host
        return {number: host.owned[number].epoch for number in partitions if number in host.owned}

    def lose(self, partitions: frozenset[int], batches: list[Batch]) -> None:
        """Give up partitions that another host has taken; nothing of theirs in the batches happened."""
        _log.warning("partitions_lost", host=self._host.options.name, partitions=len(partitions))
        self.let_go(partitions, batches)

    def let_go(self, partitions: frozenset[int], batches: list[Batch]) -> None:
        """Do the same with partitions that were handed over on purpose."""
        host = self._host
        self._has_lost = True
        self._distrusted -= partitions
        requests = [request for batch in batches for request in batch.without(partitions)]
        for number in partitions:
            self._forget_refused(number)
            owned = host.owned.pop(number, None)
            if owned is not None:
                requests += owned.queue
                owned.queue.clear()
        self.give_back(requests)

    def lost_since(self, claims: set[tuple[int, int]]) -> None:
        """Give up partitions that were claimed by others, unless they have been claimed back meanwhile."""
        host = self._host
        lost = frozenset(
            number
            for number, epoch in claims
            if (self.epochs_of([number]) or self._refused).get(number) == epoch
        )
        if lost:
            self.lose(lost, [host.committer.open])

    def give_back(self, requests: list[Request]) -> None:
        """Turn requests away whose partition has another owner; nothing of them happened."""
        host = self._host
        for request in requests:
            self.forget(request)
            host.in_flight -= 1
            host.turn_away(request, Status.MOVED)

    def tell_refused(self, requests: list[Request], misfit: Misfit) -> None:
        """Turn requests away whose answer is in a ledger that does not hold; nothing of them happened."""
        for request in requests:
            self.forget(request)
            self._host.in_flight -= 1
            self._host.turn_away_refused(request, misfit)

    def rewind(self, keys: frozenset[str], batches: list[Batch]) -> None:
        """Undo what was decided in the partitions of keys that are in the ledger, and decide it again."""
        self._rewinding.rewind(keys, batches)

    def forget(self, request: Request) -> None:
        """Forget the answer that a request was to get; the key of a repeat was another request's."""
        host = self._host
        if request.key is not None and request.status in (Status.ANSWERED, Status.REFUSED):
            host.keys.forget(request.key, request.fingerprint)
