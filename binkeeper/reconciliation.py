"""What a sales file ought to come to, and what the engine says it came to."""

from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from binkeeper.recorded import Recorded
from binkeeper.sales import SalesFile, SkippedLine

_DIFFERENCES_MAX = 20
_LINES_SHOWN_MAX = 20


class Plan:
    """What becomes of a file when its invoices are served in order, each whole or not at all."""

    def __init__(self, sales: SalesFile, opening_stock: int | None) -> None:
        self.sales = sales
        sold = sales.sold
        self.opening = sold if opening_stock is None else dict.fromkeys(sold, opening_stock)
        """Units of each SKU that are received first."""
        self.scarce = {sku for sku, units in sold.items() if self.opening[sku] < units}
        """SKUs that can run short."""
        self.refused: set[int] = set()
        """Indexes of the invoices that cannot be served."""
        self.sold = dict.fromkeys(sold, 0)
        self._serve()

    def _serve(self) -> None:
        on_hand = dict(self.opening)
        for index, invoice in enumerate(self.sales.invoices):
            units = invoice.units
            if invoice.is_return:
                for sku, quantity in units.items():
                    on_hand[sku] = on_hand.get(sku, 0) + quantity
            elif any(on_hand[sku] < quantity for sku, quantity in units.items()):
                self.refused.add(index)
            else:
                for sku, quantity in units.items():
                    on_hand[sku] -= quantity
                    self.sold[sku] += quantity

    def differences(self, recorded: dict[str, Recorded]) -> list[str]:
        """Return a line for each SKU whose figures are not what the file makes them, but not too many."""
        returned = self.sales.returned
        found = []
        for sku, one in recorded.items():
            received, sold, back = self.opening.get(sku, 0), self.sold.get(sku, 0), returned.get(sku, 0)
            want = (received, back, sold, 0, received + back - sold, 0)
            have = (one.received, one.returned, one.sold, one.other, one.on_hand, one.reserved)
            if have != want:
                names = ("received", "returned", "sold", "other", "on hand", "reserved")
                told = ", ".join(
                    f"{name} {is_} instead of {ought}"
                    for name, is_, ought in zip(names, have, want, strict=True)
                    if is_ != ought
                )
                found.append(f"{sku}: {told}")
        more = len(found) - _DIFFERENCES_MAX
        return found if more <= 0 else [*found[:_DIFFERENCES_MAX], f"and {more} more"]


@dataclass(slots=True)
class Report:
    """What a replay did and what the engine says of it."""

    sales: SalesFile
    site: str
    changed: int = 0
    """Commands that took effect this time."""
    replayed: int = 0
    """Commands that were answered as the first time."""
    refusals: list[SkippedLine] = field(default_factory=list)
    """Lines of refused invoices."""
    recorded: dict[str, Recorded] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    """Where the engine's figures are not what the file makes them."""
    took_s: float = 0.0

    @property
    def figures(self) -> dict[str, int]:
        """The figures that the contract names."""
        found = self.recorded.values()
        return {
            "invoices": self.sales.invoice_count,
            "lines": self.sales.line_count,
            "lines_skipped": len(self.sales.skipped),
            "skus": len(self.recorded),
            "units_received": sum(one.received for one in found),
            "units_sold": sum(one.sold for one in found),
            "units_returned": sum(one.returned for one in found),
            "units_on_hand": sum(one.on_hand for one in found),
            "refused_lines": len(self.refusals),
            "oversold": sum(one.oversold for one in found),
        }

    @property
    def is_reconciled(self) -> bool:
        """Whether the engine's figures are those of the file, and nothing was sold that was not there."""
        figures = self.figures
        on_hand = figures["units_received"] + figures["units_returned"] - figures["units_sold"]
        return not self.differences and figures["oversold"] == 0 and on_hand == figures["units_on_hand"]

    @property
    def is_repetition(self) -> bool:
        """Whether every command had been carried out before."""
        return self.changed == 0 and self.replayed > 0

    def plain(self) -> dict[str, Any]:
        """The report as JSON knows it."""
        return {
            **self.figures,
            "site": self.site,
            "changed": self.changed,
            "replayed": self.replayed,
            "reconciled": self.is_reconciled,
            "skipped": [line._asdict() for line in self.sales.skipped],
            "refused": [line._asdict() for line in self.refusals],
            "differences": self.differences,
            "took_s": round(self.took_s, 2),
        }


def show(report: Report, console: Console) -> None:
    """Print a report for a person."""
    for title, lines in (("skipped", report.sales.skipped), ("refused", report.refusals)):
        for line in sorted(lines)[:_LINES_SHOWN_MAX]:
            console.print(
                f"line {line.number} {title}: {escape(line.reason)}", highlight=False, soft_wrap=True
            )
        if len(lines) > _LINES_SHOWN_MAX:
            console.print(f"and {len(lines) - _LINES_SHOWN_MAX:,} more lines {title} (all by --json)")
    console.print(f"site {escape(report.site)}", highlight=False)
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    for name, value in report.figures.items():
        table.add_row(name.replace("_", " "), f"{value:,}")
    console.print(table)
    for difference in report.differences:
        console.print(f"[red]differs: {escape(difference)}[/]", highlight=False)
    if report.is_reconciled:
        console.print("[green]received + returned - sold = on hand, to the unit, for every SKU[/]")
    if report.is_repetition:
        console.print(f"nothing changed: this file was replayed before ({report.replayed:,} commands known)")
    else:
        console.print(f"{report.changed:,} commands took effect, in {report.took_s:.1f} s", highlight=False)
