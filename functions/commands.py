"""What main.py does when it is asked for more than to start: `audit`, `recount`, `erasures`, `erase_again` and
`data_requests` on the store that the environment describes, and `verify FILE [DIGEST ...]`, which needs none."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from domain.receipt_files import check_file
from firestore.store import Store
from functions.schedule import erasures as log_of_erasures
from functions.tasks.privacy import data_answers

FILE_BYTES_MAX = 256 * 2**20  # several times the largest export


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What a command line asks for: `command`, None to start the store, and the `file` and `digests` of `verify`. Ends
    the process where it asks for help, and with status 2 where it asks for anything else."""
    parser = argparse.ArgumentParser(prog="main.py", description="Without a command, main.py starts the store.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("audit", help="check the whole ledger of this store; docs/rules.md says what I1 to I14 are")
    commands.add_parser("recount", help="count all figures again from what is recorded, and mend those that differ")
    commands.add_parser("erasures", help="write the log of deleted accounts, to be kept beside the backups")
    commands.add_parser("erase_again", help="read such a log, and erase whom a backup has brought back")
    commands.add_parser("data_requests", help="write what customers have asked to be told, and what is held of them")
    asked = commands.add_parser("verify", help="check an export of receipts, without the store")
    asked.add_argument("file", type=Path, help="the exported JSON file")
    asked.add_argument("digests", nargs="*", metavar="DIGEST", type=str.lower, help="one that you know, in hex")
    return parser.parse_args(arguments)


async def audit(store: Store, now: datetime) -> int:
    """Check the whole ledger; gives the exit status: 1 where a document breaks an invariant."""
    report = await store.audit(now, since=None, progress=_tell)
    for violation in report.violations:
        _say(f"{violation.invariant} {violation.path}: {violation.message}")
    found = len(report.violations)
    _say(f"{report.entries} entries, {report.documents} documents, {found} violations as of {report.at}")
    if found:
        _say("docs/rules.md says what each of I1 to I14 asks.")
    return 1 if report.violations else 0


async def recount(store: Store, now: datetime) -> int:
    """Count all that is final again from scratch; gives the exit status: 1 where something had to be mended."""
    mended = await store.roll_up.again(None, now, secrets.token_hex(8))
    _say(f"{mended} documents of figures were not what the facts say, and are now.")
    return 1 if mended else 0


async def erasures(store: Store, now: datetime) -> int:
    """Write the log of deleted accounts, one JSON line each: keep it beside the backups."""
    async for page in store.erasures.log():
        for line in log_of_erasures.as_lines(page):
            _say(line)
    return 0


async def erase_again(store: Store, now: datetime) -> int:
    """Read such lines from the standard input, and erase again whom a restored backup has brought back."""
    try:
        taken = await log_of_erasures.take_lines(store, sys.stdin)
    except ValueError as problem:
        return _say(f"This is no log of deleted accounts: {problem}.", failed=True)
    erased = await log_of_erasures.erase_again(store, now)
    _say(f"{taken} lines read, {erased} accounts erased again; the store's queue does the rest.")
    return 0


async def data_requests(store: Store, now: datetime) -> int:
    """Write each customer's request for data that a shop has passed on, with what is held of them, for who answers."""
    async for line in data_answers(store):
        _say(line)
    return 0


OF_THE_STORE: Mapping[str, Callable[[Store, datetime], Awaitable[int]]] = {
    "audit": audit,
    "recount": recount,
    "erasures": erasures,
    "erase_again": erase_again,
    "data_requests": data_requests,
}


def verify(file: Path, digests: Sequence[str]) -> int:
    """Say whether a user's export holds, and up to which digest; gives the exit status: 1 where it does not."""
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            return _say(f"{file} is larger than {FILE_BYTES_MAX} bytes: that is no export.", failed=True)
        data = json.loads(file.read_bytes())
    except OSError as problem:
        return _say(f"{file} cannot be read: {problem.strerror}.", failed=True)
    except (ValueError, RecursionError):
        return _say(f"{file} is not JSON: export it again.", failed=True)
    verdict = check_file(data, digests)
    for line in verdict.problems:
        _say(line, failed=True)
    if verdict.problems:
        return _say(f"{file} does NOT hold.", failed=True)
    late = f", {verdict.late} of them sealed late" if verdict.late else ""
    _say(f"{verdict.sealed} entries of {verdict.user_id} hold{late}; {verdict.open} are not sealed yet.")
    if not verdict.last_digest:
        return _say("Nothing is sealed yet: export it again tomorrow.")
    return _say(
        f"All hang on the digest of {verdict.last_day}: {verdict.last_digest}\n"
        f'Compare it with {{ ledgerDigest(day: "{verdict.last_day}") {{ digest }} }}, and keep it.'
    )


def _tell(line: str) -> None:
    _say(line)


def _say(line: str, *, failed: bool = False) -> int:
    (sys.stderr if failed else sys.stdout).write(line + "\n")
    return int(failed)
