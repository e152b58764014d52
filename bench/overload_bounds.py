"""What an overload may cost: the judgement of what `bench.overload` measured.

The bounds on times hold on a machine that has other work too: two cores with a load average of 10 gave
1.8 s for accepted requests, 1.2 s for refusals and 2.2 s in the first second after it. A queue without a
bound gives 5 s under 1.5 times the capacity for 10 s, and 20 s under 3 times; and such a backlog still waits,
or is refused, in the second second after it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ACCEPTED_P99_MS_MAX = 2_500
REFUSED_P99_MS_MAX = 2_000
AFTER_FIRST_S_P99_MS_MAX = 3_000
AFTER_SECOND_S_P99_MS_MAX = 1_500
AFTER_SECOND_S_MISSED_MAX = 0.01
"""Of the requests of that second, those that were not accepted: it has recovered."""
GOODPUT_MIN = 0.5
"""Accepted requests, as a share of the capacity: refusing must not take the time that they need."""
GROWN_MIB_MAX = 32
"""Memory, from the middle of a load to its end."""
PEAK_MIB_MAX = 64
"""Memory, from the beginning of a load to its peak."""

UNSENT_MAX = 0.02
"""Requests for which no connection was free: beyond, less was offered than is said."""
LATE_MS_MAX = 250
"""How late the generator may have been. So long a host lets requests wait before it refuses them: what a
generator that was later sends at once is an overload of its own."""
LOAD_A_CORE_MAX = 6.0
"""The machine's load average, for each core. With 11 the product had a quarter of the machine, by fits."""
BEFORE_MISSED_MAX = 0.01
"""Requests before the overload that were not accepted: beyond, the product did not have the machine."""


def shortcomings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return where rows are not what is promised, and where they say nothing about it."""
    found = []
    for row in rows:
        where = f"{row['door']} at {row['factor']:g} times"
        found += [f"{where}: {text}" for text in wrong(row)]
        doubts = list(doubtful(row))
        found += [f"{where}: no measurement: {text}" for text in doubts]
        if not doubts:
            found += [f"{where}: {text}" for text in slow(row)]
    return found


def wrong(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what no noise of the machine excuses."""
    if not row["refused"]:
        yield "nothing was refused"
    if row["retry_after_missing"]:
        yield f"{row['retry_after_missing']} refusals without Retry-After"
    if row["unknown"]:
        yield f"the outcome of {row['unknown']} requests is not known"
    for role in ("host", "api"):
        if (grown := row[f"{role}_grown_mib"]) > GROWN_MIB_MAX:
            yield f"the {role} grew by {grown:g} MiB"
        if (peak := row[f"{role}_peak_mib"]) > PEAK_MIB_MAX:
            yield f"the {role} took {peak:g} MiB more at its peak"


def doubtful(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield why a row's times say nothing about the product."""
    if row["generator_late_ms"] > LATE_MS_MAX:
        yield f"the generator was {row['generator_late_ms']:g} ms late"
    if row["machine_load"] > LOAD_A_CORE_MAX * row["machine_cores"]:
        yield f"the machine's load average was {row['machine_load']:g} on {row['machine_cores']} cores"
    if row["before_missed"] > BEFORE_MISSED_MAX * row["before_offered"]:
        yield f"{row['before_missed']} of {row['before_offered']} requests were not accepted before it"


def slow(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what took too long, was too little, or was not over in time."""
    for key, bound, text in (
        ("accepted_p99_ms", ACCEPTED_P99_MS_MAX, "accepted requests took {:g} ms at the 99th percentile"),
        ("refused_p99_ms", REFUSED_P99_MS_MAX, "refusals took {:g} ms at the 99th percentile"),
        ("after_first_s_p99_ms", AFTER_FIRST_S_P99_MS_MAX, "{:g} ms in the first second after it"),
        ("after_second_s_p99_ms", AFTER_SECOND_S_P99_MS_MAX, "{:g} ms in the second second after it"),
    ):
        if row[key] > bound:
            yield text.format(row[key])
    if row["unsent"] > UNSENT_MAX * row["offered"]:
        yield f"{row['unsent']} of {row['offered']} requests found no connection free"
    if row["goodput"] < GOODPUT_MIN:
        yield f"only {row['goodput']:.0%} of the capacity was accepted"
    missed, offered = row["after_second_s_missed"], row["after_second_s_offered"]
    if missed > AFTER_SECOND_S_MISSED_MAX * offered:
        yield f"{missed} of {offered} requests were not accepted in the second second after it"
