import socket
from pathlib import Path

import pytest

from binkeeper.ports import kept_port, why_not_free
from binkeeper.secret import kept_secret


def test_a_port_is_kept_from_one_start_to_the_next(tmp_path: Path) -> None:
    assert kept_port(tmp_path / "port") == kept_port(tmp_path / "port")


def test_a_port_that_was_taken_meanwhile_is_replaced_for_good(tmp_path: Path) -> None:
    kept = kept_port(tmp_path / "port")
    with socket.create_server(("127.0.0.1", kept)):
        assert why_not_free(kept) == "address already in use"
        other = kept_port(tmp_path / "port")
    assert other != kept
    assert kept_port(tmp_path / "port") == other


@pytest.mark.parametrize("content", ["", "no number", "-1", "65536"])
def test_a_broken_port_file_is_replaced(content: str, tmp_path: Path) -> None:
    (tmp_path / "port").write_text(content)
    assert 0 < kept_port(tmp_path / "port") < 65_536


def test_a_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "secret"
    secret = kept_secret(file)
    assert len(secret) >= 32
    assert kept_secret(file) == secret
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]
