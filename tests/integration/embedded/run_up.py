"""Runs the real launcher with fake children: `run_up.py HOME PORT [supervisor's mode]`."""

import sys
from pathlib import Path

from rich.console import Console

from binkeeper.errors import StartError
from binkeeper.settings import Settings
from binkeeper.up import Programs, up


def main() -> None:
    home, port, mode = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    fake = (sys.executable, str(Path(__file__).with_name("fake_child.py")))
    programs = Programs(
        migrations=(sys.executable, "-c", 'print(\'{"event": "ready"}\')'),
        supervisor=(*fake, "supervisor", mode),
        api=(*fake, "api"),
    )
    settings = Settings.read(home=home, http_port=port, shutdown_grace_s=1)
    try:
        up(settings, demo=False, console=Console(), programs=programs)
    except StartError as error:
        sys.exit(f"error: {error}")


main()
