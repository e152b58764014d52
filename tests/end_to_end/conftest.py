"""One Binkeeper for all end-to-end tests: started when the first asks for it, stopped at the end."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.running import Running


@pytest.fixture(scope="session")
def binkeeper() -> Iterator[Running]:
    running = Running()
    try:
        yield running.start()
    finally:
        running.end()
