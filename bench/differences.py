"""What was not the same for two results: with it, figures differ whatever the program does."""

from collections.abc import Iterator, Mapping

from bench.result import Result, Value

_PASSING = ("load_before", "commit")
"""Of the machine's description: what may differ between any two runs."""


def differences(before: Result, after: Result) -> list[str]:
    """Return in words what differs: the machine and its versions, the plan, the seed."""
    return [
        *_flat("machine", before.machine, after.machine),
        *_flat("plan", before.plan, after.plan),
        *_flat(
            "plan",
            {"quick": before.quick, "seed": before.seed},
            {"quick": after.quick, "seed": after.seed},
            skipped=(*before.plan, *after.plan),
        ),
    ]


def _flat(
    what: str, before: Mapping[str, Value], after: Mapping[str, Value], skipped: tuple[str, ...] = _PASSING
) -> Iterator[str]:
    for name in dict.fromkeys([*before, *after]):
        if name not in skipped and before.get(name) != after.get(name):
            yield f"{what}: {name}: {_said(before.get(name))} before, {_said(after.get(name))} after"


def _said(value: Value) -> str:
    return "not told" if value is None else str(value)
