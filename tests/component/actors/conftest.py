"""What all tests of hosts share."""

import pytest


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Refuse nothing for its age on a slow machine, except where that is what is tested."""
    if request.module.__name__.rpartition(".")[2] != "test_overload":
        monkeypatch.setattr("actors.intake._WAIT_S_MAX", 30.0)


@pytest.fixture
def no_auditor_but_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have hosts audit nothing by themselves: a test that audits knows when."""
    monkeypatch.setattr("actors.auditor._ROUND_S", 3600.0)
