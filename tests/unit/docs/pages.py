"""The documentation as a test reads it: sections, tables, links."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def section(page: str, title: str) -> str:
    """The text below a heading, up to the next one of its rank or above."""
    found = re.search(rf"^(#+) {re.escape(title)}$", text_of(page), re.MULTILINE)
    assert found, f"{page} has no section {title!r}"
    rest = text_of(page)[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(page: str, title: str) -> list[list[str]]:
    """The cells of all tables in a section, without heads."""
    found: list[list[str]] = []
    for line in section(page, title).splitlines():
        if line.startswith("|---"):
            found.pop()
        elif line.startswith("|"):
            found.append([cell.strip() for cell in line.strip("|").replace("\\|", "/").split("|")])
    return found


def named(cell: str) -> list[str]:
    """What stands in backticks."""
    return _CODE.findall(cell)


def table(page: str, title: str) -> dict[str, list[str]]:
    """The rows of a section by the names in their first cells."""
    found: dict[str, list[str]] = {}
    for first, *rest in rows(page, title):
        for name in named(first):
            assert name not in found, f"{name} is documented twice"
            found[name] = rest
    return found


def links(path: Path) -> list[str]:
    return _LINK.findall(_FENCE.sub("", path.read_text(encoding="utf-8")))


def anchors(path: Path) -> set[str]:
    """The fragments that headings make, as forges make them."""
    prose = _FENCE.sub("", path.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
