"""`python -m tests.fuzz`: schemathesis against a store that runs, as a guest, a user and an admin. `make fuzz N=…`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from domain.rates import RATES
from tests.emulators import ROOT
from tests.fuzz.asking import ask, sign_in

SHOWN = 10
SEEN = """{ listings(first: 8) { nodes { id agent { id } owner { id } reviews(first: 2) { nodes { id } } } }
    badges(first: 3) { nodes { id } }
    viewer { id agents(first: 3) { nodes { id listing { id } } } sessions(first: 8) { nodes { id agent { id } } }
        transactions(first: 5) { nodes { id } } notifications(first: 3) { nodes { id } } } }"""
READY_SECONDS = 120  # a slow machine fills a demo market in a minute
ROLES = {"guest": None, "user": "max@jiga.test", "admin": "admin@jiga.test"}
# `is_an_answer_of_ours` knows faults by the contract: not_a_server_error takes FORBIDDEN for one, and is left out.
CHECKS = "content_type_conformance,is_an_answer_of_ours"


def main() -> int:
    """Run every role; gives 0 where no answer was a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--n", type=int, default=100, help="examples of each operation and role")
    parser.add_argument("--role", choices=ROLES, action="append", help="one role only; may be given again")
    parser.add_argument("--workers", type=int, default=2)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jiga-fuzz-") as data:
        serving = Serving(Path(data))
        with serving as url:
            failed = [role for role in told.role or ROLES if _fuzz(url, role, told.n, told.workers)]
        raised = serving.raised()
    print(f"faults as: {', '.join(failed)}" if failed else "no fault", flush=True)
    print(f"{len(raised)} exceptions in the store's log", *raised[:SHOWN], sep="\n", flush=True)
    return 1 if failed or raised else 0


class Serving:
    """A store of its own on a free port, for as long as the block."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._log = data / "store.log"

    def __enter__(self) -> str:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        # The limits of a deployer who tests: what is looked for here is faults, not how soon a client is held back.
        rates = json.dumps(dict.fromkeys(RATES, 10**9))
        settings = {"PORT": str(port), "JIGA_DATA_DIR": str(self._data), "JIGA_RATE_LIMITS": rates}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "main.py"], cwd=ROOT, env={**os.environ, **settings}, stdout=log, stderr=log
            )
        url = f"http://127.0.0.1:{port}"
        give_up = time.monotonic() + READY_SECONDS
        while time.monotonic() < give_up and self._process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                    return url
            time.sleep(0.2)
        self.__exit__()
        raise RuntimeError(f"the store did not start, and said last: {self._log.read_text('utf-8')[-2_000:]}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def raised(self) -> list[str]:
        """The lines of the store's log that tell of an exception: an answer may hide what went wrong behind it."""
        with self._log.open(encoding="utf-8", errors="replace") as lines:
            return [line.rstrip() for line in lines if "Traceback" in line or "[error" in line or "[critical" in line]


def _fuzz(url: str, role: str, examples: int, workers: int) -> bool:
    """Whether schemathesis has found anything as this role."""
    print(f"\n== as {role}, {examples} examples of each operation", flush=True)
    email = ROLES[role]
    token = None if email is None else sign_in(url, email)
    asked = ["run", f"{url}/graphql", "--phases", "fuzzing", "-n", str(examples), "-w", str(workers), "--no-color"]
    asked += ["--checks", CHECKS, "--continue-on-failure", "--suppress-health-check", "all"]
    # A user who signs out, or who deletes itself, is a guest from then on.
    asked += [part for name in ("signOut", "deleteMyAccount") for part in ("--exclude-name", f"Mutation.{name}")]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "PYTHONPATH": str(ROOT)}
    hooks |= {"JIGA_FUZZ_IDS": ",".join(_known_ids(url, token)), "JIGA_FUZZ_URL": url, "JIGA_FUZZ_EMAIL": email or ""}
    command = [str(Path(sys.executable).with_name("schemathesis")), *asked]
    failed = subprocess.run(command, env={**os.environ, **hooks}, check=False).returncode != 0
    if email is not None:
        # Whoever was suspended or demoted on the way has been a stranger since, and the examples have shown nothing.
        viewer = ask(url, "{ viewer { email role } }", token=sign_in(url, email))["data"]["viewer"]
        print(f"at the end {role} is still {viewer}", flush=True)
        failed |= viewer != {"email": email, "role": role.upper()}
    return failed


def _known_ids(url: str, token: str | None) -> list[str]:
    """Ids of things that this person can see: what names nothing goes no further than a look-up."""
    answer = ask(url, SEEN, token=token)
    return sorted(set(re.findall(r"\b[a-z]{3}_[0-9a-hjkmnp-tv-z]{26}\b", json.dumps(answer))))


if __name__ == "__main__":
    sys.exit(main())
