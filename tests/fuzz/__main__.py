"""`python -m tests.fuzz`: schemathesis against a store that runs, as a guest, a user and an admin. `make fuzz N=…`."""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from demo.seed import PASSWORD
from domain.rates import RATES
from tests.emulators import ROOT

READY_SECONDS = 120  # a slow machine fills a demo market in a minute
ROLES = {"guest": None, "user": "max@jiga.test", "admin": "admin@jiga.test"}
CHECKS = "not_a_server_error,content_type_conformance,is_an_answer_of_ours"


def main() -> int:
    """Run every role; gives 0 where no answer was a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--n", type=int, default=100, help="examples of each operation and role")
    parser.add_argument("--role", choices=ROLES, action="append", help="one role only; may be given again")
    parser.add_argument("--workers", type=int, default=2)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jiga-fuzz-") as data, Serving(Path(data)) as url:
        failed = [role for role in told.role or ROLES if _fuzz(url, role, told.n, told.workers)]
    print(f"faults as: {', '.join(failed)}" if failed else "no fault", flush=True)
    return 1 if failed else 0


class Serving:
    """A store of its own on a free port, for as long as the block."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def __enter__(self) -> str:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        # The limits of a deployer who tests: what is looked for here is faults, not how soon a client is held back.
        rates = json.dumps(dict.fromkeys(RATES, 10**9))
        settings = {"PORT": str(port), "JIGA_DATA_DIR": str(self._data), "JIGA_RATE_LIMITS": rates}
        self._process = subprocess.Popen([sys.executable, "main.py"], cwd=ROOT, env={**os.environ, **settings})
        url = f"http://127.0.0.1:{port}"
        give_up = time.monotonic() + READY_SECONDS
        while time.monotonic() < give_up:
            try:
                if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                    return url
            except httpx.TransportError:
                time.sleep(0.2)
        raise RuntimeError("the store did not start: run `make run` and read what it says")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)


def _fuzz(url: str, role: str, examples: int, workers: int) -> bool:
    """Whether schemathesis has found anything as this role."""
    print(f"\n== as {role}, {examples} examples of each operation", flush=True)
    email = ROLES[role]
    asked = ["run", f"{url}/graphql", "--phases", "fuzzing", "-n", str(examples), "-w", str(workers), "--no-color"]
    asked += ["--checks", CHECKS, "--continue-on-failure", "--suppress-health-check", "all"]
    # A user who signs out, or who deletes itself, is a guest from then on.
    asked += [part for name in ("signOut", "deleteMyAccount") for part in ("--exclude-name", f"Mutation.{name}")]
    if email is not None:
        asked += ["--header", f"Authorization: Bearer {_sign_in(url, email)}"]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "PYTHONPATH": str(ROOT)}
    command = [str(Path(sys.executable).with_name("schemathesis")), *asked]
    return subprocess.run(command, env={**os.environ, **hooks}, check=False).returncode != 0


def _sign_in(url: str, email: str) -> str:
    query = "mutation ($input: SignInInput!) { signIn(input: $input) { ... on SignInPayload { idToken } } }"
    asked = {"query": query, "variables": {"input": {"email": email, "password": PASSWORD}}}
    answer = httpx.post(f"{url}/graphql", json=asked, trust_env=False, timeout=30).json()
    return str(answer["data"]["signIn"]["idToken"])


if __name__ == "__main__":
    sys.exit(main())
