"""Every setting, its limits and what it means; read from BINKEEPER_* variables and from `.env`.

The launcher resolves them once and hands them to its children as variables, so that all processes agree.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from binkeeper.errors import StartError
from binkeeper.secret import kept_secret

PREFIX = "BINKEEPER_"


def _spare_cores() -> int:
    return max(1, (os.cpu_count() or 2) - 1)


class Settings(BaseSettings):
    """What can be set. Units stand last in the names: `_s` seconds, `_bytes` bytes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    home: Annotated[Path, Field(description="folder of all embedded data, logs, tokens and run.json")] = Path(
        ".binkeeper"
    )
    http_host: Annotated[str, Field(min_length=1, description="address the HTTP server listens on")] = (
        "127.0.0.1"
    )
    http_port: Annotated[int, Field(ge=1, le=65_535, description="port of the HTTP server")] = 8000
    postgres_url: Annotated[
        SecretStr | None,
        Field(description="postgresql:// of an existing server; without it an embedded one is started"),
    ] = None
    nats_url: Annotated[
        SecretStr | None,
        Field(description="nats:// of an existing server; without it an embedded one is started"),
    ] = None
    ray_address: Annotated[
        str | None, Field(description="host:port of an existing Ray cluster; without it Ray starts locally")
    ] = None
    hosts: Annotated[int, Field(ge=1, le=4096, description="bin hosts; default: cores minus one")] = Field(
        default_factory=_spare_cores
    )
    standbys: Annotated[
        int, Field(ge=0, le=64, description="started hosts without stock, ready to replace one that dies")
    ] = 1
    share_new_nodes: Annotated[
        bool,
        Field(
            description="whether a node of the Ray cluster without a host gets one with its share, by itself"
        ),
    ] = True
    partitions: Annotated[
        int,
        Field(
            ge=1,
            le=65_536,
            description="partitions of the stock; fixed when the database is made, which knows it then",
        ),
    ] = 256
    lane_host: Annotated[
        str, Field(min_length=1, description="address the bin hosts listen on for lanes")
    ] = "127.0.0.1"
    lane_token: Annotated[
        SecretStr | None,
        Field(description="secret shared by the API and the hosts; made and kept in the home when absent"),
    ] = None
    admin_token: Annotated[
        SecretStr | None,
        Field(description="the administrator's bearer token; made and kept in the home when absent"),
    ] = None
    max_in_flight: Annotated[
        int, Field(ge=1, le=10_000_000, description="requests a host takes before it refuses more with 429")
    ] = 10_000
    key_window: Annotated[
        int,
        Field(
            ge=0, le=100_000_000, description="command keys a host remembers; older ones are in the ledger"
        ),
    ] = 50_000
    snapshot_interval_s: Annotated[
        float, Field(gt=0, le=3600, description="seconds between snapshots of changed bins")
    ] = 5.0
    tentative_ttl_s: Annotated[
        float,
        Field(gt=0, le=600, description="seconds after which an undecided part of a reservation is swept"),
    ] = 10.0
    shutdown_grace_s: Annotated[
        float, Field(gt=0, le=600, description="seconds each process may take to stop before it is killed")
    ] = 10.0
    max_body_bytes: Annotated[
        int, Field(ge=1024, le=1024**3, description="bytes of the largest HTTP request body that is read")
    ] = 8 * 1024 * 1024
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(description="the least severe line that is logged"),
    ] = "info"
    openai_api_key: Annotated[
        SecretStr | None, Field(description="key of an OpenAI-compatible endpoint, for the assistant")
    ] = None
    openai_base_url: Annotated[
        str | None, Field(description="address of an OpenAI-compatible endpoint, if not the usual one")
    ] = None

    @classmethod
    def read(cls, **given: object) -> Self:
        """The settings of the environment, with `given` (those not None) on top; HOME made absolute.

        Raises StartError with one line that names the first wrong variable.
        """
        values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        try:
            settings = cls(**values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = "_".join(str(part) for part in first["loc"]).upper()
            raise StartError(f"setting {PREFIX}{name}: {first['msg']}") from error
        return settings.model_copy(update={"home": settings.home.expanduser().absolute()})

    def with_tokens(self) -> Self:
        """The same, with the tokens that were not given read from the home, where they are made once."""
        tokens = {
            name: SecretStr(kept_secret(self.home / file))
            for name, file in (("lane_token", "lane.token"), ("admin_token", "admin.token"))
            if getattr(self, name) is None
        }
        return self.model_copy(update=tokens)

    def environment(self) -> dict[str, str]:
        """What was set or resolved, as BINKEEPER_* variables for a child process; secrets included.

        Defaults stay defaults, so that a child can still tell what the person asked for.
        """
        variables = {}
        for name in sorted(self.model_fields_set | {"home"}):
            value = getattr(self, name)
            if value is not None:
                plain = value.get_secret_value() if isinstance(value, SecretStr) else value
                variables[PREFIX + name.upper()] = str(plain)
        return variables
