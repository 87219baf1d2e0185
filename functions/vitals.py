"""What a process runs short of: room on its disk, open files, memory. Short of any, it takes no new work (T-F11).

A commit that finds the disk full, or a socket that finds no descriptor, fails somewhere in the middle; a request that
is refused at the door with 503 goes to another process, and the ones under way end well.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

DISK_BYTES_MIN = 64 * 2**20  # SQLite's log may grow by as much between two checkpoints
FILES_SHARE_MAX = 0.9  # the rest is for what is under way: the queue's, the store's and the logs' own
MEMORY_SHARE_MAX = 0.95  # of the container's limit: beyond it the kernel ends the process without asking
EVERY_SECONDS = 1.0  # three small reads; between two looks nothing can fill up that was not nearly full

_CGROUP = Path("/sys/fs/cgroup")


class Vitals:
    """Looks at most once a second. `data_dir` is where a local store writes; None for one that writes nothing."""

    def __init__(self, data_dir: Path | None) -> None:
        self._checks: Mapping[str, Callable[[], bool]] = {
            "disk": lambda: data_dir is not None and _free_bytes(data_dir) < DISK_BYTES_MIN,
            "files": lambda: _open_files() >= FILES_SHARE_MAX * _files_max(),
            "memory": lambda: _memory_share() >= MEMORY_SHARE_MAX,
        }
        self._short: tuple[str, ...] = ()
        self._looked_at = float("-inf")

    def short_of(self) -> tuple[str, ...]:
        """What there is too little of, by name."""
        now = time.monotonic()
        if now - self._looked_at >= EVERY_SECONDS:
            self._looked_at = now
            self._short = tuple(name for name, is_short in self._checks.items() if is_short())
        return self._short


class Refuge:
    """Pure ASGI middleware: refuses new work while the process is short of anything. Health and figures answer on."""

    def __init__(self, app: ASGIApp, *, vitals: Vitals) -> None:
        self._app = app
        self._vitals = vitals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in {"/healthz", "/readyz", "/metrics"}:
            await self._app(scope, receive, send)
            return
        short = self._vitals.short_of()
        if not short:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1013, "reason": "Try again later"})
        else:
            error = {"message": "The store is short of room: try again later.", "extensions": {"code": "UNAVAILABLE"}}
            refusal = JSONResponse({"errors": [error]}, status_code=503, headers={"Retry-After": "5"})
            await refusal(scope, receive, send)


def _free_bytes(path: Path) -> int:
    told = os.statvfs(path)
    return told.f_bavail * told.f_frsize


def _open_files() -> int:
    """The lowest free descriptor: as many are open below it. Listing them would take longer the more there are."""
    try:
        free = os.dup(2)
    except OSError:  # not even one more
        return _files_max()
    os.close(free)
    return free


def _files_max() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 2**31


def _memory_share() -> float:
    """Of the container's memory, what is in use and cannot be dropped (as Kubernetes counts it: without the file cache
    that was not used lately); 0 where there is no limit, or nobody tells."""
    try:
        most = (_CGROUP / "memory.max").read_text().strip()
        if most == "max":
            return 0.0
        told = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        used = int((_CGROUP / "memory.current").read_text()) - int(told.get("inactive_file", 0))
        return used / int(most)
    except (OSError, ValueError):
        return 0.0
