"""An event loop whose clock is virtual and whose callbacks belong to processes that can be killed or paused.

Time stands still while anything is ready, then jumps to the next timer: a run takes no time to wait and comes
out the same however busy the machine is. Each callback belongs to the process in whose context it was made;
one that is killed runs nothing any more, not even its `finally` blocks, as after `kill -9`.
"""

import asyncio
import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

_PROCESS: ContextVar["Process | None"] = ContextVar("process", default=None)

Handler = Callable[[dict[str, Any]], None]


class Stuck(Exception):
    """Nothing is ready and no timer is set: the run would wait for ever."""


class Process:
    """A process of the simulated world."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.is_paused = False
        self.on_killed: list[Callable[[], None]] = []
        """What the rest of the world notices when it is gone: its sockets, its database sessions."""
        self.deferred: list[_Callback] = []
        """What is ready to run once it goes on."""

    def __repr__(self) -> str:
        return f"<process {self.name}>"


def _do_nothing() -> None:
    pass


class _Callback(asyncio.TimerHandle):
    """What runs in some context once it is ready. Asyncio's own would be a tenth of a run's time."""

    __slots__ = ("act", "args", "context", "is_cancelled")

    def __init__(self, act: Callable[..., object], args: tuple[object, ...], context: Context) -> None:
        self.act = act
        self.args = args
        self.context = context
        self.is_cancelled = False

    def cancel(self) -> None:
        """See asyncio."""
        self.is_cancelled = True
        self.act, self.args = _do_nothing, ()

    def cancelled(self) -> bool:
        """See asyncio."""
        return self.is_cancelled


class SimulatedLoop(asyncio.AbstractEventLoop):
    """Runs everything in the order in which it became ready, at virtual seconds from 0."""

    def __init__(self) -> None:
        self._ready: deque[_Callback] = deque()
        self._timers: list[tuple[float, int, _Callback]] = []
        self._order = itertools.count()
        self._now_s = 0.0
        self._is_running = False
        self._kept: list[Any] = []
        """What killed processes had to do: as long as it lives, nothing of it is closed."""
        self._tasks: list[tuple[Process | None, asyncio.Task[Any]]] = []
        """Tasks that are under way, and those of killed processes."""
        self._failed: list[tuple[float, Process | None, asyncio.Task[Any]]] = []
        """Tasks that ended with an error which nobody has looked at yet, and when that was noticed."""
        self.steps = 0
        """Callbacks that have run."""
        self._alarms: list[tuple[int, int, Callable[[], None]]] = []
        self.clock_ahead_ms: dict[str, int] = {}
        """By how much a process's clock is ahead, by its name."""
        self.effects: Counter[str] = Counter()
        """What faults really did, by what it was: a fault that meets nothing is none."""
        self.on_exception: Handler = lambda _: None
        self.network: Any = None
        """Where connections are made; see `simulation.network`."""

    # Time and processes

    def time(self) -> float:
        """Return virtual seconds."""
        return self._now_s

    def process(self) -> Process | None:
        """Return the process whose callback runs now; None for the world itself."""
        return _PROCESS.get()

    def within(self, process: Process | None) -> Context:
        """Return a context in which callbacks and tasks belong to a process."""
        context = copy_context()
        context.run(_PROCESS.set, process)
        return context

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Have something happen that no process does."""
        self.call_later(seconds, act, context=self.within(None))

    def spawn(self, process: Process | None, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine as a task of a process."""
        task = asyncio.Task(work, loop=self, context=self.within(process))
        self._tasks.append((process, task))
        return task

    def kill(self, process: Process) -> None:
        """End a process between two steps. What it had under way is lost; the world notices."""
        if process.is_alive:
            process.is_alive = False
            self._kept += process.deferred
            process.deferred = []
            for noticed in process.on_killed:
                noticed()

    def pause(self, process: Process) -> None:
        """Stop a process as SIGSTOP does: its timers pass, and run late."""
        process.is_paused = True

    def go_on(self, process: Process) -> None:
        """Let a paused process run what has become ready meanwhile."""
        process.is_paused = False
        self._ready.extend(process.deferred)
        process.deferred = []

    def after_steps(self, steps: int, act: Callable[[], None]) -> None:
        """Have something happen between two callbacks, when so many more have run."""
        heapq.heappush(self._alarms, (self.steps + steps, next(self._order), act))

    def errors(self, after_s: float) -> list[BaseException]:
        """Return errors of tasks which nobody has looked at for so long; what has ended well is let go.

        A process that was killed does not count, and one that is paused may still look.
        """
        tasks, self._tasks = self._tasks, []
        for process, task in tasks:
            if not task.done():
                self._tasks.append((process, task))
            elif _is_unseen(task):
                self._failed.append((self._now_s, process, task))
        failed, self._failed = self._failed, []
        found: list[BaseException] = []
        for since_s, process, task in failed:
            if process is not None and not process.is_alive:
                task._log_traceback = False  # Nobody is left to look.
            elif _is_unseen(task):
                is_late = self._now_s - since_s >= after_s and (process is None or not process.is_paused)
                fault = task.exception() if is_late else None
                if fault is None:
                    self._failed.append((since_s, process, task))
                else:
                    found.append(fault)
        return found

    # Running

    def run_until_complete(self, future: Any) -> Any:  # noqa: ANN401 - asyncio's signature
        """Run until a coroutine or future is done; return its result. Raises Stuck."""
        task = asyncio.ensure_future(future, loop=self) if asyncio.iscoroutine(future) else future
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        self._is_running = True
        try:
            self._run_until(task)
        finally:
            self._is_running = False
            asyncio._set_running_loop(before)
        return task.result()

    def _run_until(self, task: asyncio.Future[Any]) -> None:
        ready, alarms, is_done = self._ready, self._alarms, task.done
        while not is_done():
            if not ready:
                self._jump()
            callback = ready.popleft()
            if callback.is_cancelled:
                continue
            process = callback.context.get(_PROCESS)
            if process is not None and (process.is_paused or not process.is_alive):
                (process.deferred if process.is_alive else self._kept).append(callback)
                continue
            self.steps += 1
            try:
                callback.context.run(callback.act, *callback.args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as fault:  # noqa: BLE001 - whoever listens is told
                self.call_exception_handler({"message": f"{callback.act} failed", "exception": fault})
            if alarms and alarms[0][0] <= self.steps:
                heapq.heappop(alarms)[2]()

    def _jump(self) -> None:
        timers, now_s = self._timers, self._now_s
        while timers and timers[0][2].is_cancelled:
            heapq.heappop(timers)
        if not timers:
            raise Stuck(f"nothing is left to happen at {now_s:.3f} s")
        now_s = self._now_s = max(now_s, timers[0][0])
        while timers and timers[0][0] <= now_s:
            self._ready.append(heapq.heappop(timers)[2])

    # What asyncio asks of a loop

    async def create_server(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Listen on the simulated network."""
        assert self.network is not None
        return await self.network.create_server(*args, **options)

    async def create_connection(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Connect over the simulated network."""
        assert self.network is not None
        return await self.network.create_connection(*args, **options)

    def call_soon(
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.Handle:
        """See asyncio."""
        ready = _Callback(callback, args, copy_context() if context is None else context)
        self._ready.append(ready)
        return ready

    def call_at(
        self, when: float, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        timer = _Callback(callback, args, copy_context() if context is None else context)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        """See asyncio."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> asyncio.Task[Any]:  # noqa: ANN401, ARG002
        """See asyncio."""
        task = asyncio.Task(coro, loop=self, context=context)
        process = _PROCESS.get() if context is None else context.get(_PROCESS)
        self._tasks.append((process, task))
        return task

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell whoever listens."""
        self.on_exception(context)

    def get_debug(self) -> bool:
        """Return False: what debugging adds would only cost time."""
        return False

    def is_running(self) -> bool:
        """See asyncio."""
        return self._is_running

    def is_closed(self) -> bool:
        """See asyncio."""
        return False

    def close(self) -> None:
        """Let go of everything, without a word of what was under way."""
        self.on_exception = lambda _: None
        for _, task in self._tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]


def _is_unseen(task: asyncio.Task[Any]) -> bool:
    """Whether a task ended with an error that nobody has looked at."""
    return bool(task._log_traceback)
