"""What a person sees while Binkeeper starts, runs and stops: one line a stage, with the time it took."""

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from rich.progress import TaskID


class Stages:
    """Spinners on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began: dict[str, float] = {}
        self._tasks: dict[str, TaskID] = {}
        self._progress: Progress | None = None
        if console.is_terminal:
            self._progress = Progress(
                SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(),
                console=console, transient=True,
            )  # fmt: skip
            self._progress.start()

    def begin(self, stage: str, text: str = "") -> None:
        """Shows that `stage` is under way."""
        self._began[stage] = time.monotonic()
        if self._progress is not None:
            self._tasks[stage] = self._progress.add_task(_joined(stage, text), total=None)

    def note(self, stage: str, text: str) -> None:
        """Shows how far a stage is; only on a terminal, where the line is replaced."""
        if self._progress is not None and stage in self._tasks:
            self._progress.update(self._tasks[stage], description=_joined(stage, text))

    def done(self, stage: str, text: str = "ready") -> None:
        """Leaves a line that says how long the stage took."""
        if (began := self._began.pop(stage, None)) is None:
            return
        if self._progress is not None:
            self._progress.remove_task(self._tasks.pop(stage))
        self.say(f"[green]✓[/] {_joined(stage, text)} [dim]{time.monotonic() - began:.1f} s[/]")

    def say(self, line: str) -> None:
        """Prints a line above whatever spins."""
        self._console.print(line, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Ends the spinners; stages under way are forgotten."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        self._began.clear()


def _joined(stage: str, text: str) -> str:
    return f"{stage:<12} {escape(text)}".rstrip()
