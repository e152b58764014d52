"""Bugs that the simulator has to find: each breaks one thing that the product does right.

A simulator that finds nothing says little; one that finds these within a few hundred histories is awake. Each
is a patch of the running code, for the time of a run. They are listed by theme, each as (name, the promises
that it breaks, what is put in place of which attributes or items of a dict).
"""

from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest.mock import patch

from simulation.mutants import beliefs, choices, decisions, misdeeds, owners


class Mutant:
    """One seeded bug: what is put in place of which attributes, or items of a dict."""

    def __init__(self, name: str, breaks: str, *changes: tuple[Any, Any, object]) -> None:
        self.name = name
        self.promises = frozenset(breaks.split())
        """Those that it breaks. A finding counts that names one of them."""
        self._changes = changes

    def is_named_by(self, violation: str | None) -> bool:
        """Whether a violation is about a promise that this bug breaks."""
        return violation is not None and violation.partition(":")[0] in self.promises

    def patch(self) -> AbstractContextManager[Any]:
        """Return the bug, for the length of a block."""
        stack = ExitStack()
        for target, name, value in self._changes:
            is_item = isinstance(target, dict)
            change: Any = patch.dict(target, {name: value}) if is_item else patch.object(target, name, value)
            stack.enter_context(change)
        return stack


_THEMES = (owners, beliefs, decisions, choices, misdeeds)

MUTANTS = tuple(
    Mutant(name, breaks, *changes) for theme in _THEMES for name, breaks, *changes in theme.SEEDED
)
"""Each is found by `make simulate-mutants`: by the referee, and not by an assertion of the product."""
