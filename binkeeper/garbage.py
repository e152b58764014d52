"""When a host's process looks for garbage, and gives memory back.

Reference counting frees bins and reservations: their objects do not point back at what holds them. So each
new object is looked at once, and what survives is frozen. Else a host with a million bins would look at all
of them again and again, and stand still for a second each time.
"""

import contextlib
import ctypes
import gc

_YOUNG_MAX = 10_000
"""New objects at which garbage is collected: 2 ms. With 200,000 it was 45 ms, and nothing was answered."""
_OLD_MAX = 200_000
"""Frozen objects that are looked at again in a quiet moment, 45 ms: what was left of a broken connection."""


def tune_process() -> None:
    """Set the process up: each object is looked at once."""
    tidy_memory()
    gc.set_threshold(_YOUNG_MAX, 1_000_000, 1_000_000)
    if _freeze_survivors not in gc.callbacks:
        gc.callbacks.append(_freeze_survivors)


def tidy_memory() -> None:
    """Collect what is new, or everything while that is little, and give free memory back: 200 bytes a bin."""
    if gc.get_freeze_count() <= _OLD_MAX:
        gc.unfreeze()
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):  # Another C library has no such call.
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _freeze_survivors(phase: str, _: dict[str, int]) -> None:
    if phase == "stop":
        gc.freeze()
