"""The project's own Firestore for a machine without a cloud account: `emulator/`, in a process of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import structlog

ROOT = Path(__file__).parent.parent.parent
STOP_SECONDS_MAX = 20  # what it is given to end by itself; a clean stop takes well under three
GLANCE_SECONDS = 0.5  # how soon a dead one is noticed: it is back well within the 5 s of an outage

log = structlog.get_logger(__name__)


class LocalFirestoreError(Exception):
    """It did not start; the text says what to look at."""


class LocalFirestore:
    """The project's own Firestore, as a child process that ends with this one, and is started again when it dies."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._process, self.host = self._start(port=0)
        self._watch: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """From now on, start it again on the same port whenever it has ended by itself."""
        self._watch = asyncio.get_running_loop().create_task(self._outlive(), name="local firestore")

    async def stop(self) -> None:
        """End it; every commit that was acknowledged is on the disk."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, STOP_SECONDS_MAX)

    async def _outlive(self) -> None:
        port = int(self.host.rpartition(":")[2])
        while True:
            await asyncio.sleep(GLANCE_SECONDS)
            if self._process.poll() is None:
                continue
            log.warning("local firestore ended", status=self._process.returncode)
            try:
                self._process, _ = await asyncio.to_thread(self._start, port)
            except LocalFirestoreError as problem:
                log.error("local firestore did not start again", reason=str(problem))

    def _start(self, port: int) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "emulator", "--port", str(port), "--data", str(self._data)]
        command += ["--indexes", str(ROOT / "firestore" / "firestore.indexes.json"), "--parent-pid", str(os.getpid())]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own module
        assert process.stdout is not None, "its output is read"
        line = process.stdout.readline().strip()
        if not line.startswith("ready on "):
            process.terminate()
            process.wait(STOP_SECONDS_MAX)
            raise LocalFirestoreError(f"The local Firestore did not start: is {self._data} in use by another process?")
        return process, line.removeprefix("ready on ")
