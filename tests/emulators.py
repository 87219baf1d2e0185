"""Firestores for tests: our own emulator, and the official one where it is installed. Each is a child process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grpc
from google.cloud.firestore_v1 import types

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0
STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Emulator:
    """A running Firestore at `host` (`127.0.0.1:port`). `stop` ends it with everything that it started."""

    host: str
    process: subprocess.Popen[str]

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(
                self.process.pid, signal.SIGTERM
            )  # its own group: the official one is a shell and a Java below it
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def start_local(tmp: Path, *arguments: str) -> Emulator:
    """Our emulator on a free port, with its data in `tmp`. More arguments go to it, such as `--indexes FILE`."""
    command = [sys.executable, "-m", "emulator", "--host", "127.0.0.1", "--port", "0"]
    command += ["--ttl-seconds", "86400"]  # tests live at fixed moments of the past: their rows must not expire
    process = subprocess.Popen(
        [*command, "--data", str(tmp / "firestore.sqlite"), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready on "):
            return Emulator(line.removeprefix("ready on ").strip(), process)
    raise RuntimeError(f"the emulator ended with {process.wait()} before it was ready: see its error above")


@cache
def find_official() -> str | None:
    """The official emulator's start script: JIGA_FIRESTORE_EMULATOR, or where gcloud keeps it."""
    named = os.environ.get("JIGA_FIRESTORE_EMULATOR")
    if named:
        return named
    gcloud = shutil.which("gcloud")
    if gcloud is None or shutil.which("java") is None:
        return None
    # It lies in the SDK's `bin`, mostly. To ask gcloud itself takes a second, and is for a shim on PATH.
    place = "platform/cloud-firestore-emulator/cloud_firestore_emulator"
    script = Path(gcloud).resolve().parents[1] / place
    if not script.is_file():
        asked = subprocess.run(
            [gcloud, "info", "--format=value(installation.sdk_root)"], capture_output=True, text=True, check=False
        )
        script = Path(asked.stdout.strip()) / place
    return str(script) if script.is_file() else None


def start_official(script: str) -> Emulator:
    """The official emulator on a free port. It forgets everything at its end."""
    port = free_port()
    process = subprocess.Popen(
        [script, "start", "--host=127.0.0.1", f"--port={port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        # A small heap and the quick compiler: it starts sooner, and leaves the cores to the tests.
        env={**os.environ, "JAVA_TOOL_OPTIONS": "-Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"},
    )
    emulator = Emulator(f"127.0.0.1:{port}", process)
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            _warm_up(emulator.host)
            return emulator
    emulator.stop()
    raise RuntimeError(f"the official emulator did not open port {port} within {START_SECONDS} s")


def _warm_up(host: str) -> None:
    """Its first commits load classes for seconds on a busy machine, longer than the store's own deadline."""
    name = "projects/warm/databases/(default)"
    write = types.Write(update=types.Document(name=f"{name}/documents/warm/up"))
    asked = types.CommitRequest(database=name, writes=[write])
    with grpc.insecure_channel(host, options=(("grpc.enable_http_proxy", 0),)) as channel:
        commit = channel.unary_unary(
            "/google.firestore.v1.Firestore/Commit",
            request_serializer=types.CommitRequest.serialize,
            response_deserializer=types.CommitResponse.deserialize,
        )
        for _ in range(20):
            commit(asked, timeout=START_SECONDS, wait_for_ready=True)


def new_project() -> str:
    """A project's id that no test had before: an empty database on a server that is shared."""
    return f"demo-{uuid.uuid4().hex[:12]}"


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
