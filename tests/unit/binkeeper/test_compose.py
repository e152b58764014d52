"""docker-compose.yml and the Dockerfile against what the settings and the code need."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from binkeeper.settings import PREFIX, Settings

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("supervisor", "api")
SECRETS = {"lane_token", "admin_token", "postgres_url", "nats_url"}


def settings_of(service: str) -> dict[str, str]:
    environment = SERVICES[service].get("environment", {})
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX)
    }


def with_values(text: str) -> str:
    """As compose fills in variables: `${NAME:-default}` and `${NAME:?complaint}`."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    return re.sub(r"\$\{\w+:\?[^}]*\}", "given", text)


def test_it_has_the_parts_of_the_product() -> None:
    assert set(SERVICES) == {"postgres", "nats", "ray-head", "ray-worker", "supervisor", "api"}


@pytest.mark.parametrize("service", OURS)
def test_every_setting_it_gives_exists_and_is_valid(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = settings_of(service)
    assert set(given) <= set(Settings.model_fields)
    for name, value in given.items():
        monkeypatch.setenv(PREFIX + name.upper(), with_values(value))
    settings = Settings.read()
    assert settings.environment().items() >= {
        (PREFIX + name.upper(), with_values(value)) for name, value in given.items()
    }


@pytest.mark.parametrize("service", OURS)
def test_every_setting_that_a_server_needs_is_given(service: str) -> None:
    assert settings_of(service).keys() >= SECRETS | {"home", "ray_address", "http_host", "lane_host"}


def test_the_parts_agree_on_every_setting() -> None:
    assert settings_of("supervisor") == settings_of("api")


@pytest.mark.parametrize("service", SERVICES)
def test_secrets_come_from_the_environment_and_have_no_default(service: str) -> None:
    for name, value in SERVICES[service].get("environment", {}).items():
        if name.removeprefix(PREFIX).lower() in SECRETS or name.endswith(("PASSWORD", "TOKEN")):
            assert re.search(r"\$\{\w+:\?", value), name
    assert "${NATS_PASSWORD:?" in COMPOSE["configs"]["nats"]["content"]


def test_the_addresses_are_those_of_the_services() -> None:
    given = settings_of("api")
    for name, part in (("postgres_url", "@postgres:5432/"), ("nats_url", "@nats:4222")):
        assert part in given[name]
    head, port = given["ray_address"].split(":")
    assert head in SERVICES
    assert f"--port={port}" in SERVICES[head]["command"]
    assert f"--address={given['ray_address']}" in SERVICES["ray-worker"]["command"]
    assert SERVICES["api"]["ports"] == [f"127.0.0.1:8000:{given['http_port']}"]


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_a_health_check_and_comes_back(service: str) -> None:
    check = SERVICES[service]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= set(check)
    assert SERVICES[service]["restart"] == "unless-stopped"


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_waits_for_healthy_ones_that_exist(service: str) -> None:
    for needed, how in SERVICES[service].get("depends_on", {}).items():
        assert needed in SERVICES
        assert how == {"condition": "service_healthy"}


@pytest.mark.parametrize("service", SERVICES)
def test_every_image_is_pinned_by_its_tag(service: str) -> None:
    _, _, tag = SERVICES[service]["image"].partition(":")
    assert re.match(r"\d+\.\d+", tag)


def test_our_image_has_the_version_of_the_product() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    ours = {service["image"] for service in SERVICES.values() if service["image"].startswith("binkeeper:")}
    assert ours == {f"binkeeper:{version[1]}"}


def test_all_data_lies_in_named_volumes() -> None:
    mounted = {
        mount.partition(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])
    }
    assert mounted == set(COMPOSE["volumes"])
    for service in ("postgres", "nats"):
        assert SERVICES[service]["volumes"]


def test_the_ledger_is_durable() -> None:
    command = SERVICES["postgres"]["command"]
    assert "-cfsync=on" in command
    assert "-csynchronous_commit=on" in command


def test_the_image_holds_every_package_and_the_pinned_dependencies() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for package in ("engine", "persistence", "actors", "api", "bench", "binkeeper"):
        assert f"COPY {package} {package}" in dockerfile
        assert f"!{package}" in ignored
    assert dockerfile.count("--require-hashes") == 2
    assert "USER binkeeper" in dockerfile
    assert not re.search(r"FROM \S+:latest|FROM [^:\s]+$", dockerfile, re.MULTILINE)
