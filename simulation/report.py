"""What people and programs are told of runs."""

import hashlib
from typing import Any

from simulation.coverage import RUNS_MIN, counted, never_happened
from simulation.plan import LOCATIONS, LOTS, Fault, Operation, Plan
from simulation.run import Result


def summary(results: list[Result], seconds: float, cpu_s: float) -> dict[str, Any]:
    """Return the sums over runs, which took so long by the wall clock and by the processors.

    The digest is one of all histories' in the order of their seeds: the same for the same seeds and code.
    """
    digests = "".join(result.digest for result in sorted(results, key=lambda result: result.plan.seed))
    failed = [result for result in results if result.violation is not None]
    counts = counted(results)
    return {
        "histories": len(results),
        "failed": len(failed),
        "operations": sum(result.operations for result in results),
        "faults": sum(result.faults for result in results),
        "answers": sum(result.answers for result in results),
        "refusals": sum(result.refusals for result in results),
        "unknown": sum(result.unknown for result in results),
        "entries": sum(result.entries for result in results),
        "virtual_s": round(sum(result.virtual_s for result in results), 1),
        "seconds": round(seconds, 1),
        "histories_per_minute": round(len(results) / seconds * 60, 1) if seconds else 0.0,
        "cpu_s": round(cpu_s, 1),
        "histories_per_core_minute": round(len(results) / cpu_s * 60, 1) if cpu_s else 0.0,
        "digest": hashlib.blake2b(digests.encode(), digest_size=12).hexdigest(),
        **counts,
        "never_happened": never_happened(counts) if len(results) >= RUNS_MIN else [],
        "violations": [{"seed": result.plan.seed, "violation": result.violation} for result in failed],
    }


def history(plan: Plan) -> list[str]:
    """Return a plan as lines: its operations, and between them the faults."""
    lines = []
    faults = list(plan.faults)
    for place, operation in enumerate(plan.operations):
        while faults and faults[0].after <= place:
            lines.append(f"        ! {_said(faults.pop(0))}")
        lines.append(f"key-{place:<4} client {operation.client}: {_words(operation)}")
        if place + 1 == plan.calm_after:
            lines.append("        ! all faults end")
    lines += [f"        ! {_said(fault)}" for fault in faults]
    return lines


def _words(operation: Operation) -> str:
    skus = " ".join(f"SKU-{sku}" for sku in operation.skus)
    where = "" if operation.location is None else f" at {LOCATIONS[operation.location]}"
    match operation.kind:
        case "reserve" | "reserve_several":
            what = f"{operation.quantity} of {skus}{where}"
            what += f" for {operation.ttl_s} s" if operation.ttl_s else ""
            what += " or a part" if operation.flag else ""
            what += "" if operation.strategy == "fefo" else f", {operation.strategy}"
        case "move":
            what = f"{operation.quantity} of {skus}{where} to {LOCATIONS[operation.to]}"
        case "pick" | "release" | "extend" | "read_reservation":
            what = f"of its reservation {operation.back + 1} from the newest"
            what += f", {operation.quantity} units" if operation.flag else ""
            what += ", one SKU" if operation.names_sku else ""
            what += f", from{where.removeprefix(' at')}" if operation.is_elsewhere else ""
            what += ", the rest is not there" if operation.is_short else ""
        case "repeat" | "reuse":
            what = f"of its key {operation.back + 1} from the newest"
        case "read_stock" | "read_bin" | "explain":
            what = f"{skus}{where}"
        case _:
            lot = LOTS[operation.lot]
            what = f"{operation.quantity} of {skus}{where}" + (f", lot {lot}" if lot else "")
    return f"{operation.kind} {what}" + (", sent twice" if operation.twice else "")


def _said(fault: Fault) -> str:
    size = f"target {fault.target}, {fault.seconds:g} s, size {fault.size:.2f}"
    return f"{fault.kind} ({size}, {fault.steps} steps later)"
