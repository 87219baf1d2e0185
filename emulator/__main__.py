"""`python -m emulator --data FILE [--port N] [--indexes firestore/firestore.indexes.json]`."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import grpc.aio

from emulator.indexes import Catalog
from emulator.server import Firestore
from emulator.storage import Storage

PARENT_POLL_SECONDS = 1.0
GRACE_SECONDS = 2.0
MESSAGE_BYTES_MAX = 64 * 1024 * 1024  # above the 10 MiB quota, so that the quota's own refusal reaches the client


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m emulator", description="A Firestore for one machine.")
    parser.add_argument("--data", type=Path, required=True, help="the SQLite file; created when absent")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free port, which the ready line names")
    parser.add_argument("--indexes", type=Path, help="firestore.indexes.json; queries without an index are refused")
    parser.add_argument("--history-seconds", type=float, default=600.0, help="how far back a read_time may lie")
    parser.add_argument(
        "--ttl-seconds",
        type=float,
        default=60.0,
        help="how often documents are deleted whose field with a ttl in the indexes file is past",
    )
    parser.add_argument("--parent-pid", type=int, help="exit when this process ends")
    return parser.parse_args(argv)


async def serve(options: argparse.Namespace) -> None:
    """Run until SIGTERM, SIGINT, or the end of the parent; every acknowledged commit is on the disk by then."""
    options.data.parent.mkdir(parents=True, exist_ok=True)
    try:
        catalog = Catalog.load(options.indexes)
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"--indexes {options.indexes} cannot be used: {error!r}")
    try:
        storage = Storage(options.data, catalog)
    except OSError as error:
        sys.exit(str(error))
    firestore = Firestore(storage, options.history_seconds)
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
            # Clients that wait on Listen for minutes ask now and then whether the server still lives.
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),
            ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a coin toss
        ]
    )
    server.add_generic_rpc_handlers((firestore,))
    port = server.add_insecure_port(f"{options.host}:{options.port}")
    await server.start()
    sys.stdout.write(f"ready on {options.host}:{port}\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    watch = asyncio.create_task(_outlive(options.parent_pid, ended))
    expiry = asyncio.create_task(firestore.expiry.run(options.ttl_seconds))
    await ended.wait()
    watch.cancel()
    expiry.cancel()
    await asyncio.wait([expiry])  # it reads the file, which is closed below
    firestore.end_streams()
    await server.stop(GRACE_SECONDS)
    await firestore.close()


async def _outlive(parent: int | None, ended: asyncio.Event) -> None:
    """Set `ended` once the parent process is gone."""
    if parent is None:
        return
    # A dead parent that nobody waited for still has its number; but its children have another parent then.
    was_parent = os.getppid() == parent
    while not ended.is_set():
        if not (os.getppid() == parent if was_parent else _exists(parent)):
            ended.set()
        await asyncio.sleep(PARENT_POLL_SECONDS)


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's, but alive
    return True


def main() -> None:
    """Parse the command line and serve."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    asyncio.run(serve(_arguments(sys.argv[1:])))


if __name__ == "__main__":
    main()
