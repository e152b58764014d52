"""A sales file: the CSV form of the UCI Online Retail data set, plain or gzipped, checked line by line.

    InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country

It knows nothing of the engine: `replay` decides what becomes of the invoices.
"""

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from binkeeper.errors import StartError
from engine.limits import CODE_LENGTH_MAX, QUANTITY_MAX, TEXT_LENGTH_MAX

if TYPE_CHECKING:
    import _csv

COLUMNS = (
    "InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country",
)  # fmt: skip
DATE_FORMAT = "%d/%m/%Y %H:%M"
RETURN_PREFIX = "C"
_GZIP_MAGIC = b"\x1f\x8b"
_QUANTITY_DIGITS_MAX = 20


class SalesFileError(StartError):
    """The file cannot be replayed at all. Nothing was sent."""


class SalesLine(NamedTuple):
    """Units of one SKU on an invoice, positive in a return too."""

    number: int
    """Its line in the file, from 1: the header's."""
    sku: str
    quantity: int


class SkippedLine(NamedTuple):
    """A line that cannot be replayed, and why."""

    number: int
    reason: str


@dataclass(slots=True)
class Invoice:
    """The lines of one invoice in the order of the file."""

    number: str
    lines: list[SalesLine] = field(default_factory=list)

    @property
    def is_return(self) -> bool:
        """Whether its units come back into stock."""
        return self.number.startswith(RETURN_PREFIX)

    @property
    def units(self) -> dict[str, int]:
        """Units of each SKU."""
        return _units([self])


@dataclass(slots=True)
class SalesFile:
    """What a file holds. `digest` is the same for the same text, gzipped or not, whatever its name."""

    digest: str
    line_count: int
    invoice_count: int
    """Different invoice numbers, those of skipped lines too."""
    invoices: list[Invoice]
    """Those with a line to replay, in the order in which they begin."""
    skipped: list[SkippedLine]

    @property
    def sold(self) -> dict[str, int]:
        """Units of each SKU that the file sells."""
        return _units(invoice for invoice in self.invoices if not invoice.is_return)

    @property
    def returned(self) -> dict[str, int]:
        """Units of each SKU that come back."""
        return _units(invoice for invoice in self.invoices if invoice.is_return)


def read_sales(file: Path) -> SalesFile:
    """Return what the file holds. Raises SalesFileError with one line that says what is wrong with it."""
    content = _content(file)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SalesFileError(
            f"{file}, line {line}: not UTF-8 (byte 0x{content[error.start]:02x}): convert it first, "
            "for example by `iconv -f latin1 -t utf-8`"
        ) from None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, [])
        if tuple(header) != COLUMNS:
            raise SalesFileError(f"{file}: the first line must be {','.join(COLUMNS)}")
        return _read(rows, hashlib.sha256(content).hexdigest())
    except csv.Error as error:
        raise SalesFileError(f"{file}, line {rows.line_num}: not CSV: {error}") from None


def _content(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        if content.startswith(_GZIP_MAGIC):
            content = gzip.decompress(content)
        elif file.suffix == ".gz":
            raise SalesFileError(f"{file}: not a gzip file, in spite of its name")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SalesFileError(f"{file}: the gzip file is damaged: {error}") from None
    except OSError as error:
        raise SalesFileError(f"{file}: {error.strerror or error}") from None
    return content


def _read(rows: "_csv.Reader", digest: str) -> SalesFile:
    invoices: dict[str, Invoice] = {}
    numbers: set[str] = set()
    skipped: list[SkippedLine] = []
    line_count = 0
    begins_at = rows.line_num + 1
    for row in rows:
        number, begins_at = begins_at, rows.line_num + 1
        if not row:
            continue  # An empty line is none.
        line_count += 1
        numbers.add(row[0])
        try:
            line = _line(number, row)
        except ValueError as error:
            skipped.append(SkippedLine(number, str(error)))
            continue
        invoices.setdefault(row[0], Invoice(row[0])).lines.append(line)
    return SalesFile(digest, line_count, len(numbers), list(invoices.values()), skipped)


def _line(number: int, row: list[str]) -> SalesLine:
    """Return a row as a line. Raises ValueError with the reason why it cannot be one."""
    if len(row) != len(COLUMNS):
        raise ValueError(f"{len(row)} fields instead of {len(COLUMNS)}")
    invoice, sku, _, quantity, date, *_ = row
    if not 1 <= len(invoice.strip()) <= len(invoice) <= TEXT_LENGTH_MAX or not invoice.isprintable():
        raise ValueError(f"no invoice number, or one that is not 1 to {TEXT_LENGTH_MAX} printable characters")
    if not sku.strip():
        raise ValueError("no stock code")
    if len(sku) > CODE_LENGTH_MAX or not sku.isprintable():
        raise ValueError(f"the stock code is not 1 to {CODE_LENGTH_MAX} printable characters")
    try:
        datetime.strptime(date, DATE_FORMAT)  # noqa: DTZ007 - the file does not say where its clock hangs
    except ValueError:
        raise ValueError(f"date {date[:20]!r} is not DD/MM/YYYY HH:MM") from None
    return SalesLine(number, sku, _quantity(quantity, is_return=invoice.startswith(RETURN_PREFIX)))


def _quantity(text: str, *, is_return: bool) -> int:
    digits = text.strip().removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _QUANTITY_DIGITS_MAX):
        raise ValueError(f"quantity {text[:20]!r} is not a whole number")
    units = int(text)
    if units < 1 and not is_return:
        raise ValueError(f"quantity {units} in a sale")
    if not 1 <= abs(units) <= QUANTITY_MAX:
        raise ValueError(f"quantity {units} in a return" if not units else "the quantity is too large")
    return abs(units)


def _units(invoices: Iterable[Invoice]) -> dict[str, int]:
    units: dict[str, int] = {}
    for invoice in invoices:
        for line in invoice.lines:
            units[line.sku] = units.get(line.sku, 0) + line.quantity
    return units
