"""What every broadcast keeps to."""

from persistence.nats.subjects import ledger_subject, stock_subject
from persistence.ports import Message, Streams


def ledger_message(partition: int, last_seq: int, payload: bytes = b"entries") -> Message:
    return Message(ledger_subject(partition), payload, f"{partition}:{last_seq}")


async def test_nothing_is_published_when_nothing_is_given(streams: Streams) -> None:
    await streams.publish([])
    assert await streams.ledger_tails([]) == {}


async def test_the_tail_of_a_partition_is_its_last_message(streams: Streams) -> None:
    assert await streams.ledger_tails([1, 2, 3]) == {1: 0, 2: 0, 3: 0}
    await streams.publish([ledger_message(1, 4), ledger_message(2, 9), ledger_message(1, 7)])
    assert await streams.ledger_tails([1, 2, 3]) == {1: 7, 2: 9, 3: 0}
    assert await streams.ledger_tails([2]) == {2: 9}


async def test_a_message_that_comes_again_is_stored_once(streams: Streams) -> None:
    for _ in range(2):
        await streams.publish([ledger_message(1, 4)])
    await streams.publish([ledger_message(1, 6)])
    await streams.publish([ledger_message(1, 4)])
    assert await streams.ledger_tails([1]) == {1: 6}


async def test_thousands_of_messages_go_at_once(streams: Streams) -> None:
    bins = [Message(stock_subject("LDN", f"sku {i % 700}", "A.1"), b"%d" % i) for i in range(3_000)]
    await streams.publish([ledger_message(1, 1), *bins, ledger_message(2, 1)])
    assert await streams.ledger_tails([1, 2]) == {1: 1, 2: 1}
