"""The engine's tests need no server, no clock and no sleep."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.unit.engine.desk import Desk

settings.register_profile(
    "engine_ci",
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "engine_long",
    parent=settings.get_profile("engine_ci"),
    max_examples=1_000,
    stateful_step_count=120,
)
PROFILE = "engine_long" if os.environ.get("BINKEEPER_TEST_PROFILE") == "long" else "engine_ci"


@pytest.fixture
def desk() -> Desk:
    return Desk()
