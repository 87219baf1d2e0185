"""The project's own Firestore for a machine without a cloud account: `emulator/`, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
STOP_SECONDS_MAX = 20  # what it is given to end by itself; a clean stop takes well under three


class LocalFirestoreError(Exception):
    """It did not start; the text says what to look at."""


class LocalFirestore:
    """The project's own Firestore, as a child process that ends with this one."""

    def __init__(self, data: Path) -> None:
        command = [sys.executable, "-m", "emulator", "--port", "0", "--data", str(data)]
        command += ["--indexes", str(ROOT / "firestore" / "firestore.indexes.json"), "--parent-pid", str(os.getpid())]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603
        assert self._process.stdout is not None, "its output is read"
        line = self._process.stdout.readline().strip()
        if not line.startswith("ready on "):
            self._process.terminate()
            raise LocalFirestoreError(f"The local Firestore did not start: is {data} in use by another process?")
        self.host = line.removeprefix("ready on ")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(STOP_SECONDS_MAX)
