"""Stands in for a child of the launcher: it speaks the child protocol, and does nothing else."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path


def tell(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def main() -> None:
    role, mode = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "serve"
    home = Path(os.environ["BINKEEPER_HOME"])
    (home / f"{role}.environment").write_text(json.dumps(dict(os.environ)))
    if mode == "fail":
        tell(event="failed", text="the thing is broken")
        return
    if mode == "end":
        sys.stderr.write("ERROR: out of ideas\n")
        return
    stop = threading.Event()
    signal.signal(signal.SIGTERM, (lambda *_: None) if mode == "stubborn" else (lambda *_: stop.set()))
    tell(event="progress", text="warming up")
    print("a line that is no event", flush=True)
    if role == "supervisor":
        # As Ray's processes do, it leaves the session of the one that started it.
        worker = subprocess.Popen(
            [sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True
        )
        tell(event="processes", processes=[{"role": "host", "pid": worker.pid}])
    tell(event="ready")
    while not stop.wait(0.05):
        pass
    if role == "supervisor":
        worker.kill()


main()
