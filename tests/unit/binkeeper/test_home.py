import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from binkeeper.errors import StartError
from binkeeper.home import Home


class Usage(NamedTuple):
    free: int


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_home_has_one_owner_at_a_time(home: Home) -> None:
    home.claim()
    with pytest.raises(StartError, match=r"another Binkeeper \(pid \d+\) uses"):
        Home(home.folder).claim()
    home.release()
    Home(home.folder).claim()


def test_a_full_disk_is_one_line_that_says_what_to_do(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=100 * 2**20))
    with pytest.raises(StartError, match=r"only 100 MB free .* at least 512 MB") as caught:
        home.claim()
    assert "\n" not in str(caught.value)


def test_a_home_that_is_a_file_is_refused(home: Home) -> None:
    home.folder.write_text("not a folder")
    with pytest.raises(StartError, match="as home"):
        home.claim()


def test_what_runs_is_told_while_it_runs(home: Home) -> None:
    home.claim()
    home.write_processes([{"role": "api", "pid": 7}])
    home.write_run(url="http://127.0.0.1:1", token="t")
    assert home.read_processes() == [{"role": "api", "pid": 7}]
    assert home.run_file.stat().st_mode & 0o777 == 0o600
    home.release()
    assert home.read_processes() == []
    assert home.read_run() == {}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"processes": [1, {"role": "api"}]}'])
def test_a_broken_list_of_processes_counts_as_none(content: str, home: Home) -> None:
    home.claim()
    home.processes_file.write_text(content)
    assert home.read_processes() == []
