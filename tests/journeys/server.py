"""A running store as a stranger meets it: a child process, an address, a secret that its webhooks are signed with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.emulators import ROOT, free_port

START_SECONDS = 60.0
SECRET = "a secret of the shop"


class Server:
    """`python main.py` in a directory of its own. It can be killed and started again on the same data."""

    def __init__(self, data: Path, **settings: str) -> None:
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("JIGA_", "FIREBASE_"))}
        kept.pop("FIRESTORE_EMULATOR_HOST", None)
        self._environment = {
            **kept,
            "PORT": str(self.port),
            "JIGA_DATA_DIR": str(data),
            "JIGA_DEMO": "0",
            "JIGA_SCHEDULE_SECONDS": "1",
            "SHOPIFY_WEBHOOK_SECRET": SECRET,
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        """Run it, and wait until it is ready."""
        self.launch()
        self.wait_ready()
        return self

    def launch(self) -> None:
        """Run it, without waiting."""
        self.data.mkdir(parents=True, exist_ok=True)
        with (self.data / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "main.py")],
                cwd=self.data,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Until the store answers, or raise with what it said last."""
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up and self._process is not None and self._process.poll() is None:
            try:
                if self._get("/readyz", timeout=2.0).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise RuntimeError(f"the store did not start: {self.log()[-2000:]}")

    def kill(self) -> None:
        """SIGKILL to the store alone: its local Firestore must notice by itself."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it as an operator would, with all that it started."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def log(self) -> str:
        """What the process has printed so far."""
        return (self.data / "server.log").read_text("utf-8", "replace")

    def figures(self) -> dict[str, float]:
        """The counters of /metrics."""
        lines = self._get("/metrics").text.splitlines()
        return {
            name: float(value) for name, _, value in (line.partition(" ") for line in lines if not line.startswith("#"))
        }

    def _get(self, path: str, timeout: float = 5.0) -> httpx.Response:
        # Nothing is encrypted on loopback, and reading the roots of trust takes longer than the answer.
        return httpx.get(f"{self.url}{path}", timeout=timeout, trust_env=False, verify=False)
