"""How the API's process is put together."""

from pathlib import Path
from typing import Any

import pytest

from binkeeper import http
from binkeeper.settings import Settings
from persistence.postgres.sessions import Sessions


async def test_finding_owners_and_readiness_have_sessions_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: dict[str, Any] = {}

    class Gateway:
        partitions = 4

        room = None

        def __init__(self, directory: Any, *_: object, **__: object) -> None:
            made["routing"] = directory._sessions

        async def close(self) -> None:
            pass

    class Server:
        def __init__(self, front: Any, *_: object) -> None:
            del front

        async def listen(self) -> None:
            pass

    def create_app(
        _: object, __: object, ledger: Any, read_model: Any, ___: object, *, probe: Any, room: object
    ) -> None:
        del room
        made.update(reads=ledger._sessions, lists=read_model._sessions, probe=probe._sessions)

    async def four(_: object) -> int:
        return 4

    async def none(_: object) -> None:
        pass

    monkeypatch.setattr(http, "LaneGateway", Gateway)
    monkeypatch.setattr(http, "Server", Server)
    monkeypatch.setattr(http, "create_app", create_app)
    monkeypatch.setattr(http, "_partitions", four)
    monkeypatch.setattr(http, "_hosts", none)
    settings = Settings.read(home=tmp_path, postgres_url="postgresql://nobody@127.0.0.1:1/x")
    await http._serve(settings.with_tokens())
    assert all(isinstance(sessions, Sessions) for sessions in made.values())
    assert made["routing"] is made["probe"]
    assert made["reads"] is made["lists"]
    assert made["routing"] is not made["reads"]
    assert (made["routing"]._size, made["reads"]._size) == (2, 8)
