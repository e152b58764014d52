"""A machine in virtual time: cores in turns, processes that do one thing after another, a log on disk."""

import heapq
from collections import deque
from collections.abc import Callable

_SLICE_S = 200e-6
"""For which a process keeps a core when others wait for one."""

Then = Callable[[], None]


class Clock:
    """Virtual time, and what is to happen in it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._events: list[tuple[float, int, Then]] = []
        self._number = 0

    def after(self, seconds: float, then: Then) -> None:
        """Have something happen. What happens at the same time happens in the order in which it was said."""
        self._number += 1
        heapq.heappush(self._events, (self.now_s + seconds, self._number, then))

    def step(self) -> bool:
        """Let the next event happen; False if there is none."""
        if not self._events:
            return False
        self.now_s, _, then = heapq.heappop(self._events)
        then()
        return True


class Cores:
    """Cores of a machine."""

    def __init__(self, clock: Clock, count: int) -> None:
        self.clock = clock
        self.busy_s = 0.0
        self._free = count
        self._ready: deque[Process] = deque()

    def ready(self, process: "Process") -> None:
        """Let a process wait for a core."""
        self._ready.append(process)
        self.give()

    def give(self) -> None:
        """Give cores that are free to processes that wait."""
        while self._free and self._ready:
            self._free -= 1
            self._ready.popleft().run()

    def back(self, used_s: float) -> None:
        """Take a core back."""
        self.busy_s += used_s
        self._free += 1


class Process:
    """Does one piece of work after another, on one core at most."""

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self._work: deque[tuple[float, Then]] = deque()
        self.busy_s = 0.0

    def do(self, seconds: float, then: Then) -> None:
        """Put work at the end of the queue."""
        self._work.append((seconds, then))
        if len(self._work) == 1:
            self._cores.ready(self)

    def run(self) -> None:
        """Work for a slice, now that there is a core."""
        spent_s = min(self._work[0][0], _SLICE_S)
        self._cores.clock.after(spent_s, lambda: self._worked(spent_s))

    def _worked(self, spent_s: float) -> None:
        seconds, then = self._work[0]
        self.busy_s += spent_s
        if seconds > spent_s:
            self._work[0] = (seconds - spent_s, then)
        else:
            # The work stays in the queue until it is over, so that what it causes finds the process busy.
            then()
            self._work.popleft()
        self._cores.back(spent_s)
        if self._work:
            self._cores.ready(self)
        else:
            self._cores.give()


class Log:
    """A server's log on disk. Whoever comes while it is being written is in the next write."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._waiting: list[Then] = []
        self._is_writing = False

    def write(self, then: Then) -> None:
        """Have something happen when it is durable."""
        self._waiting.append(then)
        if not self._is_writing:
            self._start()

    def _start(self) -> None:
        self._is_writing = True
        group, self._waiting = self._waiting, []
        self._clock.after(self._seconds, lambda: self._written(group))

    def _written(self, group: list[Then]) -> None:
        self._is_writing = False
        for then in group:
            then()
        if self._waiting and not self._is_writing:
            self._start()
