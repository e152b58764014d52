"""The gateway: finds owners, and says what is known when it cannot."""

import asyncio

import msgspec
import pytest

from actors.frames import encode
from actors.gateway import LaneGateway
from actors.lane_client import Lane
from actors.outcomes import Answered, OutcomeUnknown, Overloaded, Unavailable
from actors.queries import ReadStock
from actors.requests import Status
from engine.commands import ReceiveStock
from persistence.placement import Placement
from tests.component.actors.world import PARTITIONS, TOKEN, World, number_of, until, view_of, world

RECEIVE = ReceiveStock("LON", "TEA", "A", 1)


class FixedDirectory:
    """A directory that says what a test wants."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses
        self.is_away = False
        self.asked_in_vain = 0

    async def placements(self) -> list[Placement]:
        """See `Directory.placements`."""
        if self.is_away:
            self.asked_in_vain += 1
            message = "the directory"
            raise Unavailable(message)
        return [Placement(number, "host", address, 1) for number, address in enumerate(self.addresses)]


async def test_where_nobody_is_nothing_happened() -> None:
    gateway = LaneGateway(FixedDirectory(["127.0.0.1:1"] * PARTITIONS), TOKEN, PARTITIONS, timeout_s=0.15)
    with pytest.raises(Unavailable):
        await gateway.submit(1, RECEIVE, "k")
    with pytest.raises(Unavailable):
        await gateway.query(1, ReadStock("LON", "TEA"))
    with pytest.raises(Unavailable):
        await gateway.control("127.0.0.1:1", "ping", None)
    await gateway.close()


async def test_a_directory_that_is_away_delays_requests() -> None:
    async with world() as w:
        directory = FixedDirectory([w.hosts[0].address] * PARTITIONS)
        directory.is_away = True
        gateway = LaneGateway(directory, TOKEN, PARTITIONS, timeout_s=5)
        asked = gateway.submit(number_of("TEA"), RECEIVE, "k")
        await until(lambda: directory.asked_in_vain >= 2)
        assert not asked.done()
        directory.is_away = False
        assert isinstance(await asked, Answered)
        await gateway.close()


async def test_a_directory_that_fails_in_any_way_is_asked_again() -> None:
    async with world() as w:
        directory = FixedDirectory([w.hosts[0].address] * PARTITIONS)
        placements, faults = directory.placements, [RuntimeError("a defect"), KeyError("another")]

        async def defective() -> list[Placement]:
            if faults:
                raise faults.pop()
            return await placements()

        directory.placements = defective  # type: ignore[method-assign]
        gateway = LaneGateway(directory, TOKEN, PARTITIONS, timeout_s=5)
        assert isinstance(await gateway.submit(number_of("TEA"), RECEIVE, "k"), Answered)
        await gateway.close()


async def test_deadlines_are_kept_while_the_directory_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.gateway._OVERDUE_S", 0.01)
    async with world() as w:
        await w.receive("TEA", 1)
        hangs = asyncio.Event()
        w.gateway._timeout_s = 0.3
        monkeypatch.setattr(w.gateway._directory, "placements", hangs.wait)
        with w.ledgers[0].gate.held(), pytest.raises(OutcomeUnknown):
            async with asyncio.timeout(2):
                await w.gateway.submit(number_of("TEA"), RECEIVE, "k")


async def test_a_host_that_gave_a_partition_up_is_not_asked_in_a_loop() -> None:
    async with world() as w:
        await w.receive("TEA", 1)
        w.hosts[0].host.ownership.lose(frozenset(range(PARTITIONS)), [])
        asked = w.gateway.submit(number_of("TEA"), RECEIVE, "k")
        turned_away = w.hosts[0].host.gauges.operations
        await until(lambda: turned_away["receive", "moved"] > 0)
        loop = asyncio.get_running_loop()
        before, began_s = turned_away["receive", "moved"], loop.time()
        await until(lambda: turned_away["receive", "moved"] >= before + 5)
        asked_more = turned_away["receive", "moved"] - before
        assert (loop.time() - began_s) / asked_more > 0.02  # It was asked thousands of times a second.
        await w.hosts[0].take(list(range(PARTITIONS)))
        assert isinstance(await asked, Answered)


async def test_an_address_that_hangs_holds_up_no_other() -> None:
    async with world() as w:
        silent = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
        hangs = f"127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        number = number_of("TEA")
        addresses = [w.hosts[0].address if n == number else hangs for n in range(PARTITIONS)]
        gateway = LaneGateway(FixedDirectory(addresses), TOKEN, PARTITIONS, timeout_s=5)
        hanging = [gateway.query(n, ReadStock("LON", "X")) for n in range(PARTITIONS) if n != number]
        async with asyncio.timeout(1):
            assert isinstance(await gateway.submit(number, RECEIVE, "k"), Answered)
        await gateway.close()
        assert all(
            isinstance(fault, Unavailable) for fault in await asyncio.gather(*hanging, return_exceptions=True)
        )
        silent.close()


async def test_a_command_that_was_sent_and_not_answered_is_unknown_and_a_read_is_not() -> None:
    async with world() as w:
        w.gateway._timeout_s = 0.15
        with w.ledgers[0].gate.held():
            asked = [
                w.gateway.submit(number_of("TEA"), RECEIVE, "k"),
                w.gateway.query(number_of("TEA"), ReadStock("LON", "TEA")),
            ]
            command, read = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(command, OutcomeUnknown)
        assert isinstance(read, Unavailable)


async def test_partitions_that_moved_are_found_in_the_order_of_their_requests() -> None:
    async with world() as w:
        await w.receive("TEA", 1)
        await w.host("second")
        w.hosts[0].host.ownership.lose(frozenset(range(PARTITIONS)), [])
        asked = [w.gateway.submit(number_of("TEA"), RECEIVE, f"k{n}") for n in range(100)]
        on_hand = [outcome.view["on_hand"] for outcome in await asyncio.gather(*asked)]  # type: ignore[union-attr]
        assert on_hand == list(range(2, 102))


async def test_a_host_that_hangs_is_left_for_its_successor() -> None:
    async with world() as w:
        await w.receive("TEA", 1)
        with w.ledgers[0].gate.held(), w.snapshots[0].check_gate.held():
            asked = [w.gateway.submit(number_of("TEA"), RECEIVE, f"k{n}") for n in range(5)]
            await until(lambda: w.hosts[0].host.in_flight >= 5)
            await w.host("second")
            outcomes = await asyncio.gather(*asked)
        assert all(isinstance(outcome, Answered) for outcome in outcomes)
        assert await w.stock("TEA") == (6, 0)


async def test_what_is_refused_after_it_was_perhaps_done_elsewhere_is_unknown() -> None:
    async with world() as w:
        await w.receive("TEA", 1)
        with w.ledgers[0].gate.held():
            asked = w.gateway.submit(number_of("TEA"), RECEIVE, "k")
            await until(lambda: w.hosts[0].host.in_flight >= 1)
            object.__setattr__(w.hosts[0].host.options, "max_in_flight", 0)
            for lane in list(w.hosts[0].lanes.lanes):
                lane.close()
            with pytest.raises(OutcomeUnknown):
                await asked
            with pytest.raises(Overloaded):
                await w.gateway.submit(number_of("TEA"), RECEIVE, "other")


async def test_a_caller_that_gives_up_leaves_nothing_behind() -> None:
    async with world() as w:
        with w.ledgers[0].gate.held():
            asked = [asyncio.ensure_future(w.receive("TEA", 1)) for _ in range(5)]
            await until(lambda: w.ledgers[0].gate.waiting == 1)
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        await until(lambda: not w.gateway._pending)


async def test_a_gateway_that_is_closed_fails_what_is_in_flight_and_whatever_comes_later() -> None:
    w = World()
    await w.host("first")
    with w.ledgers[0].gate.held():
        sent = w.gateway.submit(number_of("TEA"), RECEIVE, "k")
        await until(lambda: w.ledgers[0].gate.waiting == 1)
        asked = asyncio.ensure_future(w.gateway.control(w.hosts[0].address, "flush", None))
        await until(lambda: bool(w.gateway._controls))
        await w.gateway.close()
        with pytest.raises(OutcomeUnknown):
            await sent
        with pytest.raises(Unavailable):
            await asked
        with pytest.raises(Unavailable):
            await w.gateway.submit(number_of("TEA"), RECEIVE, "later")
        with pytest.raises(Unavailable):
            await w.gateway.control(w.hosts[0].address, "ping", None)
    await w.close()


async def test_malformed_fields_are_the_callers_fault() -> None:
    async with world() as w:
        with pytest.raises(ValueError, match="Expected `int`"):
            await w.gateway.submit(number_of("TEA"), RECEIVE._replace(quantity="many"), "k")  # type: ignore[arg-type]


async def test_more_than_may_wait_is_turned_away_at_once() -> None:
    directory = FixedDirectory(["127.0.0.1:1"] * PARTITIONS)
    gateway = LaneGateway(directory, TOKEN, PARTITIONS, timeout_s=0.2, pending_max=4)
    waiting = [gateway.submit(1, RECEIVE, f"k{n}") for n in range(2)]
    turned_away = [gateway.submit(1, RECEIVE, "k3"), gateway.query(1, ReadStock("LON", "TEA"))]
    assert all(asked.done() for asked in turned_away)
    assert not any(asked.done() for asked in waiting)
    for asked in turned_away:
        with pytest.raises(Overloaded):
            await asked
    for asked in waiting:  # They are given up in time, and there is room again.
        with pytest.raises(Unavailable):
            await asked
    assert not gateway.query(1, ReadStock("LON", "TEA")).done()
    await gateway.close()


async def test_what_a_former_owner_says_of_a_request_that_waits_for_the_next_changes_nothing() -> None:
    async with world() as w:
        await w.receive("TEA", 5)
        number = number_of("TEA")
        former = await Lane.connect(w.hosts[0].address, TOKEN, lambda *_: None, lambda _: None)
        del w.gateway._routes[number]
        asked = w.gateway.submit(number, ReceiveStock("LON", "TEA", "A", 1), "key")
        (pending,) = w.gateway._waiting[number]
        w.gateway._receive(former, pending.id, Status.MOVED, msgspec.Raw(b"\xc0"))
        assert w.gateway._waiting[number] == [pending]
        view_of(await asked)
        former.close()


_REFUSED = encode(("insufficient_stock", {}))


@pytest.mark.parametrize(
    "status, answer",
    [
        (Status.MOVED, b"\xc0"),
        (Status.REFUSED, _REFUSED),
        (Status.REFUSED_AGAIN, _REFUSED),
        (Status.OVERLOADED, b"\xc0"),
        (Status.UNAVAILABLE, b"\xc0"),
        (Status.LEDGER_REFUSED, encode("partition 1, entry 1")),
    ],
)
async def test_what_a_former_owner_says_late_is_not_taken_for_the_word_of_the_next(
    status: Status, answer: bytes
) -> None:
    async with world() as w:
        await w.receive("TEA", 5)
        number = number_of("TEA")
        former = await Lane.connect(w.hosts[0].address, TOKEN, lambda *_: None, lambda _: None)
        with w.ledgers[0].gate.held():
            asked = w.gateway.submit(number, RECEIVE, "key")
            (pending,) = w.gateway._pending.values()
            route = pending.lane
            assert route is not None
            w.gateway._receive(former, pending.id, status, msgspec.Raw(answer))
            assert w.gateway._routes[number] is pending.lane is route
            assert number not in w.gateway._refuted
            assert not asked.done()
        assert view_of(await asked)["on_hand"] == 6
        former.close()


async def test_an_answer_of_a_former_owner_is_durable_and_is_taken() -> None:
    async with world() as w:
        await w.receive("TEA", 5)
        former = await Lane.connect(w.hosts[0].address, TOKEN, lambda *_: None, lambda _: None)
        with w.ledgers[0].gate.held():
            asked = w.gateway.submit(number_of("TEA"), RECEIVE, "key")
            (pending,) = w.gateway._pending.values()
            w.gateway._receive(former, pending.id, Status.ANSWERED, msgspec.Raw(encode({"on_hand": 6})))
            assert view_of(await asked) == {"on_hand": 6}
        former.close()
