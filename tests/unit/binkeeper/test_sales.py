import gzip
from pathlib import Path

import pytest

from binkeeper.sales import SalesFileError, SalesLine, read_sales

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"


def line(invoice: str = "1", sku: str = "A", quantity: str = "2", date: str = "01/12/2010 08:26") -> str:
    return f'{invoice},{sku},"a ""thing"", red",{quantity},{date},1.5,,Elsewhere'


def written(folder: Path, *lines: str) -> Path:
    file = folder / "sales.csv"
    file.write_text("\n".join([HEADER, *lines]), encoding="utf-8")
    return file


def test_lines_are_gathered_by_invoice_in_the_order_of_the_file(tmp_path: Path) -> None:
    sales = read_sales(written(tmp_path, line("1"), line("2", "B"), line("1", "C"), line("1", "A", "5")))
    assert [invoice.number for invoice in sales.invoices] == ["1", "2"]
    assert sales.invoices[0].lines == [SalesLine(2, "A", 2), SalesLine(4, "C", 2), SalesLine(5, "A", 5)]
    assert sales.invoices[0].units == {"A": 7, "C": 2}
    assert (sales.line_count, sales.invoice_count, sales.skipped) == (4, 2, [])


def test_an_invoice_with_c_is_a_return_whatever_its_sign(tmp_path: Path) -> None:
    sales = read_sales(written(tmp_path, line(), line("C1", "A", "-3"), line("C1", "B", "4")))
    assert (sales.sold, sales.returned) == ({"A": 2}, {"A": 3, "B": 4})
    assert [invoice.is_return for invoice in sales.invoices] == [False, True]


@pytest.mark.parametrize(
    "wrong, reason",
    [
        (line(sku=""), "no stock code"),
        (line(sku="  "), "no stock code"),
        (line("C1", sku=""), "no stock code"),
        (line(sku="x" * 65), "the stock code is not 1 to 64 printable characters"),
        (line(sku="a\tb"), "the stock code is not 1 to 64 printable characters"),
        (line(quantity="0"), "quantity 0 in a sale"),
        (line(quantity="-1"), "quantity -1 in a sale"),
        (line("C1", quantity="0"), "quantity 0 in a return"),
        (line(quantity="1.5"), "quantity '1.5' is not a whole number"),
        (line(quantity=""), "quantity '' is not a whole number"),
        (line(quantity="\u0661"), "quantity '\u0661' is not a whole number"),
        (line(quantity=str(2**53)), "the quantity is too large"),
        (line(quantity="9" * 5000), f"quantity '{'9' * 20}' is not a whole number"),
        (line(date="2010-12-01"), "date '2010-12-01' is not DD/MM/YYYY HH:MM"),
        (line(date="31/02/2010 08:00"), "date '31/02/2010 08:00' is not DD/MM/YYYY HH:MM"),
        ("1,A,2", "3 fields instead of 8"),
        (line(invoice=""), "no invoice number, or one that is not 1 to 200 printable characters"),
    ],
)
def test_a_line_that_cannot_be_replayed_is_skipped_with_its_number_and_reason(
    wrong: str, reason: str, tmp_path: Path
) -> None:
    sales = read_sales(written(tmp_path, line(), wrong, line()))
    assert sales.skipped == [(3, reason)]
    assert (sales.line_count, [one.number for one in sales.invoices[0].lines]) == (3, [2, 4])


def test_line_numbers_are_those_of_an_editor_in_spite_of_empty_lines_and_breaks(tmp_path: Path) -> None:
    broken = '1,A,"two\nlines",2,01/12/2010 08:26,1,,X'
    sales = read_sales(written(tmp_path, broken, "", line(), line(quantity="x")))
    assert [one.number for one in sales.invoices[0].lines] == [2, 5]
    assert sales.skipped[0].number == 6
    assert sales.line_count == 3


def test_a_file_with_its_header_alone_sells_nothing(tmp_path: Path) -> None:
    sales = read_sales(written(tmp_path))
    assert (sales.invoices, sales.skipped, sales.line_count) == ([], [], 0)


def test_the_digest_is_that_of_the_text_gzipped_or_not(tmp_path: Path) -> None:
    plain = written(tmp_path, line())
    packed = tmp_path / "other.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_sales(plain).digest == read_sales(packed).digest
    assert read_sales(written(tmp_path, line("2"))).digest != read_sales(packed).digest


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    file.write_text(f"{HEADER}\n{line()}", encoding="utf-8-sig")
    assert read_sales(file).line_count == 1


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("a.csv", b"", "the first line must be InvoiceNo,"),
        ("a.csv", b"StockCode,InvoiceNo\n1,2\n", "the first line must be InvoiceNo,"),
        ("a.csv", f"{HEADER}\n{line()}\n".encode() + b"1,\xa3,x", "line 3: not UTF-8 (byte 0xa3)"),
        ("a.csv", f'{HEADER}\n1,"open'.encode(), "line 2: not CSV: unexpected end of data"),
        ("a.csv.gz", b"no gzip at all", "not a gzip file, in spite of its name"),
        ("a.csv.gz", gzip.compress(HEADER.encode())[:-9], "the gzip file is damaged"),
        ("a.csv.gz", gzip.compress(HEADER.encode())[:9] + b"\xff" * 40, "the gzip file is damaged"),
    ],
)
def test_a_file_that_is_something_else_is_refused_in_one_line(
    name: str, content: bytes, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(SalesFileError) as refusal:
        read_sales(file)
    assert reason in str(refusal.value)
    assert str(file) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SalesFileError, match="No such file or directory"):
        read_sales(tmp_path / "nothing.csv")
    with pytest.raises(SalesFileError, match="Is a directory"):
        read_sales(tmp_path)
