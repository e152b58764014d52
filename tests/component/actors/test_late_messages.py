"""What was on its way to the streams when its sender lost its connection, or its life, may arrive late."""

from collections.abc import Sequence

import pytest

from persistence.nats.subjects import stock_subject
from persistence.ports import Message, Unavailable
from tests.component.actors.broadcasting import shown
from tests.component.actors.world import World, until, world


class CutStreams:
    """Streams that are cut while bins are on their way: these come when a test lets them."""

    def __init__(self, w: World) -> None:
        self.late: list[Message] = []
        self.is_cut = True
        self._streams = w.streams

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `Streams.publish`."""
        bins = [message for message in messages if message.subject.startswith("stock.")]
        if bins and self.is_cut:
            self.is_cut = False
            self.late += bins
            raise Unavailable("cut")
        await self._streams.publish(messages)

    async def arrive(self) -> None:
        """Let what was on its way arrive."""
        await self._streams.publish(self.late)

    async def ledger_tails(self, partitions: Sequence[int]) -> dict[int, int]:
        """See `Streams.ledger_tails`."""
        return await self._streams.ledger_tails(partitions)

    def start_over(self) -> None:
        """See `Streams.start_over`."""
        self._streams.start_over()


@pytest.mark.parametrize("deaths", [0, 1, 2])
@pytest.mark.parametrize("again_s, certain_s", [(0.3, 0.6), (0.05, 3.0)])
async def test_a_bin_that_arrives_late_does_not_stay(
    deaths: int, again_s: float, certain_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.stock_broadcast._AGAIN_S", again_s)
    monkeypatch.setattr("actors.stock_broadcast._CERTAIN_S", certain_s)
    async with world() as w:
        await until(lambda: w.hosts[0].courier.lag == 0)
        cut = CutStreams(w)
        w.hosts[0].courier._streams = w.hosts[0].courier._marks._streams = cut
        await w.receive("TEA", 5)
        await until(lambda: cut.late)
        for death in range(deaths):
            await w.kill(w.hosts[0])
            await w.host(f"successor {death}")
        await w.receive("TEA", 1)
        await until(lambda: stock_subject("LON", "TEA", "A") in w.streams.stock)
        await until(lambda: w.hosts[0].courier.lag == 0)
        await cut.arrive()
        old, now = await shown(w, "TEA")
        assert (old["on_hand"], now["on_hand"]) == (5, 6)
        await until(lambda: w.hosts[0].courier.bins.is_certain and w.hosts[0].courier.lag == 0)
        message, bin_ = await shown(w, "TEA")
        assert message == bin_


async def test_a_bin_stays_in_doubt_for_who_comes_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.stock_broadcast._CERTAIN_S", 3.0)
    async with world() as w:
        await until(lambda: w.hosts[0].courier.lag == 0)
        cut = CutStreams(w)
        w.hosts[0].courier._streams = w.hosts[0].courier._marks._streams = cut
        await w.receive("TEA", 5)
        await until(lambda: cut.late)
        await w.kill(w.hosts[0])
        second = await w.host("second")
        await w.receive("TEA", 1)
        await until(lambda: stock_subject("LON", "TEA", "A") in w.streams.stock)
        await until(lambda: second.courier.lag == 0)
        await second.courier._save_cursors()
        await w.kill(second)
        third = await w.host("third")
        await until(lambda: third.courier.lag == 0)
        await cut.arrive()
        assert not third.courier.bins.is_certain
        await until(lambda: third.courier.bins.is_certain and third.courier.lag == 0)
        message, bin_ = await shown(w, "TEA")
        assert message == bin_
