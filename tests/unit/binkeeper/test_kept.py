import asyncio
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from binkeeper import kept as kept_module
from binkeeper.child import Child, ChildSpec
from binkeeper.errors import StartError
from binkeeper.kept import BackOff, Event, Kept, Program


def program(folder: Path, code: str, heard: list[Event]) -> Program:
    spec = ChildSpec(
        role="thing",
        command=(sys.executable, "-uc", code),
        log_file=folder / "thing.log",
        tells_events=True,
        grace_s=0.2,
    )
    return Program(spec, heard.append)


SERVES = """
import signal
print('{"event": "progress", "text": "half way"}')
print('not an event')
print('{"no": "event"}')
print('{"event": "ready"}')
signal.pause()
"""


def test_the_wait_doubles_up_to_five_seconds_and_starts_anew_after_a_good_run() -> None:
    back_off = BackOff()
    waits = [back_off.after(lived_s=1) for _ in range(8)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert back_off.after(lived_s=31) == 0.1


async def test_events_are_heard_and_everything_else_is_logged(tmp_path: Path) -> None:
    heard: list[Event] = []
    thing = program(tmp_path, SERVES, heard)
    child = await thing.begin()
    await thing.until_ready()
    child.kill()
    await child.exited()
    assert [event["event"] for event in heard] == ["progress", "ready"]
    assert (tmp_path / "thing.log").read_text() == 'not an event\n{"no": "event"}\n'


@pytest.mark.parametrize(
    "code, reason",
    [
        ("""print('{"event": "failed", "text": "no luck"}')""", "thing: no luck"),
        ("raise SystemExit('ERROR: gave up')", "thing ended while starting: ERROR: gave up"),
        ("pass", "thing ended while starting: it said nothing"),
    ],
)
async def test_a_failed_start_says_why(code: str, reason: str, tmp_path: Path) -> None:
    thing = program(tmp_path, code, [])
    await thing.begin()
    with pytest.raises(StartError, match=reason):
        await thing.until_ready()


async def test_what_ends_is_started_again_with_a_line(tmp_path: Path) -> None:
    lines: asyncio.Queue[str] = asyncio.Queue()
    kept = Kept(program(tmp_path, SERVES, []), lines.put_nowait, lambda: None)
    await kept.begin()
    await kept.until_ready()
    first = kept.child
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        assert "thing ended (signal 9): starting it again in 0.1 s" in await lines.get()
        assert "thing is back" in await lines.get()
    assert kept.child is not None
    assert kept.child.pid != first.pid
    await kept.stop()
    assert kept.child is None


class FullDisk:
    """A program whose next start meets a full disk."""

    def __init__(self, inner: Program) -> None:
        self.role = inner.role
        self.inner = inner
        self.is_full = False

    @property
    def child(self) -> Child | None:
        return self.inner.child

    async def begin(self) -> Child:
        if self.is_full:
            self.is_full = False
            raise OSError(28, "No space left on device")
        return await self.inner.begin()

    async def until_ready(self) -> None:
        await self.inner.until_ready()

    def ailment(self) -> str | None:
        return None


async def test_a_full_disk_does_not_end_the_watching(tmp_path: Path) -> None:
    lines: asyncio.Queue[str] = asyncio.Queue()
    thing = FullDisk(program(tmp_path, SERVES, []))
    kept = Kept(thing, lines.put_nowait, lambda: None)
    await kept.begin()
    await kept.until_ready()
    assert kept.child is not None
    thing.is_full = True
    os.kill(kept.child.pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        assert "starting it again in 0.1 s" in await lines.get()
        assert "No space left on device" in await lines.get()
        assert "starting it again in 0.2 s" in await lines.get()
        assert "thing is back" in await lines.get()
    await kept.stop()


class Ailing(FullDisk):
    """A program that runs and cannot go on, until it is started anew."""

    def __init__(self, inner: Program) -> None:
        super().__init__(inner)
        self.ailing: int | None = None
        """The process that cannot go on."""

    def ailment(self) -> str | None:
        return "it cannot go on" if self.child is not None and self.child.pid == self.ailing else None


async def test_what_runs_and_cannot_go_on_is_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_module, "_LOOK_S", 0.01)
    lines: asyncio.Queue[str] = asyncio.Queue()
    thing = Ailing(program(tmp_path, SERVES, []))
    kept = Kept(thing, lines.put_nowait, lambda: None)
    await kept.begin()
    await kept.until_ready()
    assert kept.child is not None
    thing.ailing = kept.child.pid
    async with asyncio.timeout(30):
        assert "thing is stopped to be started anew: it cannot go on" in await lines.get()
        while "thing is back" not in (line := await lines.get()):
            assert "thing" in line
    assert kept.child is not None
    assert kept.child.pid != thing.ailing
    await kept.stop()


async def test_events_are_heard_while_the_log_cannot_be_written(tmp_path: Path) -> None:
    heard: list[Event] = []
    thing = program(tmp_path, SERVES, heard)
    (tmp_path / "thing.log").mkdir()  # Nothing can be written there.
    child = Child.start(ChildSpec(**{**asdict(thing._spec), "log_file": tmp_path / "other.log"}))
    thing._ready = asyncio.get_running_loop().create_future()
    listening = asyncio.create_task(thing._listen(child))
    await thing.until_ready()
    child.kill()
    await child.exited()
    await listening
    assert [event["event"] for event in heard] == ["progress", "ready"]


async def test_a_program_that_ignores_its_signal_is_killed_after_its_grace(tmp_path: Path) -> None:
    lines: list[str] = []
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVES
    kept = Kept(program(tmp_path, deaf, []), lines.append, lambda: None)
    await kept.begin()
    await kept.until_ready()
    child = kept.child
    await kept.stop()
    assert child is not None
    assert child.exit_code == -signal.SIGKILL
    assert "killed" in lines[-1]


def test_a_program_that_is_missing_is_one_line(tmp_path: Path) -> None:
    spec = ChildSpec(role="thing", command=("/no/such/program",), log_file=tmp_path / "log")
    with pytest.raises(StartError, match="thing cannot be started: /no/such/program: No such file"):
        Child.start(spec)
