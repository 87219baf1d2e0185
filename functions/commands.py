"""What main.py does when it is asked for more than to start, and needs no store for it: `verify FILE [DIGEST ...]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from domain.receipt_files import check_file

FILE_BYTES_MAX = 256 * 2**20  # several times the largest export


def run(arguments: Sequence[str]) -> int:
    """Do one command; gives the exit status: 0 where all holds, 1 where not, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(prog="main.py", description="Without a command, main.py starts the store.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("audit", help="check the whole ledger of the store that the environment describes")
    asked = commands.add_parser("verify", help="check an export of receipts, without the store")
    asked.add_argument("file", type=Path, help="the exported JSON file")
    asked.add_argument("digests", nargs="*", metavar="DIGEST", help="a digest that you know from elsewhere, in hex")
    told = parser.parse_args(arguments)
    return verify(told.file, [each.lower() for each in told.digests])


def verify(file: Path, digests: Sequence[str]) -> int:
    """Say whether a user's export holds, and up to which digest."""
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


def _say(line: str, *, failed: bool = False) -> int:
    (sys.stderr if failed else sys.stdout).write(line + "\n")
    return int(failed)
