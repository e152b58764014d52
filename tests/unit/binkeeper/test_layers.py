"""What import-linter cannot say: the engine imports only the standard library, and no part that acts."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ENGINE = sorted((ROOT / "engine").rglob("*.py"))
ACTING = {"asyncio", "socket", "subprocess", "threading", "time", "random", "secrets", "os", "pickle"}


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module is not None
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("file", ENGINE, ids=lambda file: file.name)
def test_the_engine_imports_the_standard_library_only_and_nothing_that_acts(file: Path) -> None:
    modules = set(imported(file)) - {"engine"}
    assert modules <= set(sys.stdlib_module_names)
    assert not modules & ACTING
