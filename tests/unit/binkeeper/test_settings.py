import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from binkeeper.errors import StartError
from binkeeper.settings import PREFIX, Settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_are_those_of_the_manual(tmp_path: Path) -> None:
    settings = Settings.read()
    assert settings.home == tmp_path / ".binkeeper"
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 8000)
    assert settings.hosts == max(1, (os.cpu_count() or 2) - 1)
    assert settings.partitions == 256
    assert settings.postgres_url is None


def test_the_environment_wins_over_the_dotenv_file_and_options_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("BINKEEPER_HTTP_PORT=9001\nBINKEEPER_HOSTS=3\nBINKEEPER_PARTITIONS=64\n")
    monkeypatch.setenv("BINKEEPER_HTTP_PORT", "9002")
    monkeypatch.setenv("BINKEEPER_HOSTS", "4")
    settings = Settings.read(http_port=9003)
    assert (settings.partitions, settings.hosts, settings.http_port) == (64, 4, 9003)


def test_an_option_that_was_not_given_and_an_empty_variable_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BINKEEPER_HTTP_PORT", "")
    assert Settings.read(http_port=None).http_port == 8000


@pytest.mark.parametrize(
    "name, value",
    [
        ("HTTP_PORT", "0"),
        ("HTTP_PORT", "65536"),
        ("HTTP_PORT", "eighty"),
        ("HOSTS", "0"),
        ("PARTITIONS", "-1"),
        ("SNAPSHOT_INTERVAL_S", "0"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_value_out_of_its_limits_is_one_line_that_names_it(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(StartError, match=f"^setting {PREFIX}{name}: ") as caught:
        Settings.read()
    assert "\n" not in str(caught.value)


def test_a_child_reads_back_exactly_what_its_parent_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = Settings.read(
        home=tmp_path, http_port=9000, postgres_url=SecretStr("postgresql://a:b@c/d"), hosts=2
    ).with_tokens()
    for name, value in parent.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings.read() == parent
    assert "BINKEEPER_PARTITIONS" not in parent.environment()


def test_tokens_are_made_once_and_kept_private(tmp_path: Path) -> None:
    first = Settings.read(home=tmp_path).with_tokens()
    second = Settings.read(home=tmp_path).with_tokens()
    assert first.admin_token == second.admin_token
    assert first.admin_token != first.lane_token
    assert (tmp_path / "admin.token").stat().st_mode & 0o777 == 0o600


def test_a_token_that_was_given_is_not_replaced(tmp_path: Path) -> None:
    settings = Settings.read(home=tmp_path, admin_token="chosen").with_tokens()
    assert settings.environment()["BINKEEPER_ADMIN_TOKEN"] == "chosen"
    assert not (tmp_path / "admin.token").exists()


def test_secrets_are_not_printed() -> None:
    settings = Settings.read(postgres_url="postgresql://user:hidden@host/db", admin_token="hidden")
    assert "hidden" not in repr(settings)
    assert "hidden" not in str(settings)


def test_every_setting_says_what_it_means() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
