"""Where the broadcast of a partition goes on: what is remembered of how far it has come.

That is known twice: the `LEDGER` stream itself tells the last entry that it holds, so that a stream that lost
its tail gets it again; a durable cursor tells up to where entries and bins are broadcast, so that nothing is
left out because of what others wrote into the stream.
"""

from collections.abc import Sequence

from actors.backlog import Track
from persistence.ports import Cursors, Streams, Unavailable

_AHEAD = -1


class Marks:
    """The durable cursors of a host's partitions, and what its streams say of them."""

    def __init__(self, streams: Streams, cursors: Cursors) -> None:
        self._streams = streams
        self._cursors = cursors
        self._saved: dict[int, int] = {}
        """Cursors as they were saved last; -1 for one that is ahead of its stream and has to go back."""

    def forget(self, number: int) -> None:
        """Forget what was saved of a partition: others may have saved since."""
        self._saved.pop(number, None)

    async def find(self, tracks: Sequence[Track]) -> None:
        """Have partitions go on from where both the stream and the durable cursor are. Raises Unavailable.

        A stream that lost its tail gets it again. One that says that it holds more than the cursor knows of
        is not believed: other programs can write to it, and an entry that is sent twice does less harm than
        one that is left out. The bins of entries that are sent again are broadcast again too.
        """
        numbers = [track.number for track in tracks]
        tails = await self._streams.ledger_tails(numbers)
        cursors = await self._cursors.cursors(numbers)
        for number, track in zip(numbers, tracks, strict=True):
            cursor = min(cursors.get(number, 0), track.committed_seq)
            tail = max(tails.get(number, cursor), 0)
            if cursor > tail:
                self._saved[number] = _AHEAD
            track.cursor = min(cursor, tail)

    async def save(self, done: dict[int, int]) -> None:
        """Remember up to where entries and bins are both broadcast. While storage is away, nothing is."""
        moved = {number: seq for number, seq in done.items() if seq > 0 and seq != self._saved.get(number)}
        if not moved:
            return
        back = {number: seq for number, seq in moved.items() if self._saved.get(number) == _AHEAD}
        try:
            if back:
                await self._cursors.move_cursors(back, back=True)
            await self._cursors.move_cursors(moved)
        except Unavailable:
            return
        self._saved.update(moved)
