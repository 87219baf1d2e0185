"""The commands of main.py: what each asks for and says, above all `verify FILE`, on a user's own machine."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import main
from domain.money import Dof
from domain.receipt_files import check_file
from firestore.collections import USERS, WALLETS
from firestore.memory import MemoryBackend
from functions.commands import OF_THE_STORE, parse, verify
from functions.schedule.seals import seal_days
from tests.emulators import ROOT
from tests.make import NOW, World, user_id

MAX, DAY = user_id("max"), timedelta(days=1)


async def an_export(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    world = World(MemoryBackend())
    await world.open()
    await world.fund("max", 70)
    await seal_days(world.store, NOW + 2 * DAY)
    world.now = NOW + 2 * DAY
    await world.fund("max", 5)
    told = await world.store.receipts.export(MAX)
    file = tmp_path / "receipts.json"
    file.write_text(json.dumps(told))
    return file, told


def asked(file: Path, *digests: str) -> int:
    """What `verify` answers to this command line."""
    told = parse(["verify", str(file), *digests])
    return verify(told.file, told.digests)


async def test_a_file_that_holds(tmp_path: Path) -> None:
    file, told = await an_export(tmp_path)
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "verify", str(file)],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    last = told["digests"][-1]["digest"]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"1 entries of {MAX} hold; 1 are not sealed yet.\n"
        f"All hang on the digest of 2026-03-02: {last}\n"
        'Compare it with { ledgerDigest(day: "2026-03-02") { digest } }, and keep it.\n'
    )
    assert [path.name for path in tmp_path.iterdir()] == ["receipts.json"]


async def test_a_known_digest_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, told = await an_export(tmp_path)
    capsys.readouterr()  # what sealing has logged
    assert asked(file, *(each["digest"].upper() for each in told["digests"])) == 0
    assert capsys.readouterr().err == ""
    assert asked(file, "ab" * 32) == 1
    heard = capsys.readouterr()
    assert heard.err == f"The digest {'ab' * 32} that you know is not in the file.\n{file} does NOT hold.\n"
    assert heard.out == ""


async def test_a_file_that_was_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, told = await an_export(tmp_path)
    told["receipts"][0]["share"][2][0] = 71
    file.write_text(json.dumps(told))
    capsys.readouterr()  # what sealing has logged
    assert asked(file) == 1
    heard = capsys.readouterr()
    assert heard.out == ""
    assert heard.err.splitlines() == [*check_file(told).problems, f"{file} does NOT hold."]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"\xff", "is not JSON: export it again."),
        (b"[" * 200_000, "is not JSON: export it again."),
    ],
)
def test_what_is_no_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, said: str
) -> None:
    file = tmp_path / "receipts.json"
    if content is not None:
        file.write_bytes(content)
    assert asked(file) == 1
    assert capsys.readouterr().err == f"{file} {said}\n"


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        (["fly"], 2, "invalid choice: 'fly'"),
        (["--fly"], 2, "unrecognized arguments: --fly"),
        (["verify"], 2, "the following arguments are required: file"),
        *(([name, "--fast"], 2, "unrecognized arguments: --fast") for name in OF_THE_STORE),
        *(([name, "today"], 2, "unrecognized arguments: today") for name in OF_THE_STORE),
        *(([name, "--help"], 0, f"usage: main.py {name}") for name in OF_THE_STORE),
    ],
)
def test_a_command_line_is_read_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: list[str], status: int, said: str
) -> None:
    def build(*_: object) -> None:
        pytest.fail("nothing may be built, let alone done")

    for name in ("Settings", "House", "create_app"):
        monkeypatch.setattr(main, name, build)
    monkeypatch.setattr("sys.argv", ["main.py", *line])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == status
    heard = capsys.readouterr()
    assert said in heard.out + heard.err


def test_every_command_of_the_store_can_be_asked_for() -> None:
    assert {name: parse([name]).command for name in OF_THE_STORE} == {name: name for name in OF_THE_STORE}
    assert parse([]).command is None


async def test_an_audit_names_what_is_broken_and_where_the_rules_stand(capsys: pytest.CaptureFixture[str]) -> None:
    world = World(MemoryBackend())
    await world.open()
    await world.fund("max", 70)
    assert await OF_THE_STORE["audit"](world.store, NOW) == 0
    assert "docs/rules.md" not in capsys.readouterr().out
    await world.put(WALLETS, replace(await world.get(WALLETS, MAX), available=Dof(71)))
    assert await OF_THE_STORE["audit"](world.store, NOW) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"I2 {WALLETS.at(MAX)}: has [71, ") for line in lines)
    assert lines[-1] == "docs/rules.md says what each of I1 to I14 asks."


async def test_the_log_of_deleted_accounts_is_written_and_read_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one store has written erases, in a store that knows nothing of it, whom a backup has brought back."""
    world, restored = World(MemoryBackend()), World(MemoryBackend())
    for each in (world, restored):
        await each.open("eve")
    await world.store.erasures.request(user_id("eve"), Dof(0), NOW)
    assert await OF_THE_STORE["erasures"](world.store, NOW) == 0
    lines = capsys.readouterr().out
    assert json.loads(lines) == {"user": user_id("eve"), "erased_at": NOW.isoformat()}
    monkeypatch.setattr("sys.stdin", StringIO(lines))
    assert await OF_THE_STORE["erase_again"](restored.store, NOW) == 0
    assert "1 lines read, 1 accounts erased again; " in capsys.readouterr().out
    assert (await restored.get(USERS, user_id("eve"))).display_name == "Deleted user"
    assert (await restored.get(USERS, user_id("max"))).erased_at is None
    monkeypatch.setattr("sys.stdin", StringIO("no log\n"))
    assert await OF_THE_STORE["erase_again"](restored.store, NOW) == 1
