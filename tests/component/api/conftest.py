import pytest

from tests.component.api.world import World


@pytest.fixture
def world() -> World:
    return World()
