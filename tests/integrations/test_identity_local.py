"""What is the local adapter's alone: rotation, throttling, several processes on one file, and the file itself."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import argon2
import jwt
import pytest

from domain.errors import BadCredentials, RateLimited, Unauthenticated, Unavailable
from integrations.local.identity import LocalIdentity
from integrations.services import IdentityGateway, SignIn

PASSWORD = "jiga-demo"


@dataclass
class Clock:
    now: datetime = datetime(2026, 11, 20, 12, 0, 0, 250_000, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "identity.sqlite"


@pytest.fixture
async def gateway(path: Path, clock: Clock) -> AsyncIterator[IdentityGateway]:
    gateway = LocalIdentity(path, clock=clock)
    yield gateway
    await gateway.close()


async def fails(error: type[Exception], awaitable: Any) -> Any:
    with pytest.raises(error) as raised:
        await awaitable
    return raised.value


async def tries(gateway: IdentityGateway, email: str, count: int) -> list[object]:
    """The outcomes of `count` wrong passwords sent at once."""
    return await asyncio.gather(*(gateway.sign_in(email, "wrong") for _ in range(count)), return_exceptions=True)


async def test_a_refresh_token_works_once(gateway: IdentityGateway, clock: Clock) -> None:
    first = await gateway.sign_up("ada@jiga.test", PASSWORD)
    second = await gateway.refresh(first.refresh_token)
    assert second.refresh_token != first.refresh_token
    await fails(BadCredentials, gateway.refresh(first.refresh_token))
    third = await gateway.refresh(second.refresh_token)  # the other tab, a moment later, ended nothing
    elsewhere = await gateway.sign_in("ada@jiga.test", PASSWORD)
    clock.advance(seconds=5.1)
    await fails(BadCredentials, gateway.refresh(first.refresh_token))
    await fails(BadCredentials, gateway.refresh(third.refresh_token))  # its family is dead
    assert (await gateway.refresh(elsewhere.refresh_token)).uid == first.uid  # another sign-in is not


async def test_of_parallel_refreshes_one_wins_and_stays(gateway: IdentityGateway) -> None:
    up = await gateway.sign_up("ada@jiga.test", PASSWORD)
    outcomes = await asyncio.gather(*(gateway.refresh(up.refresh_token) for _ in range(8)), return_exceptions=True)
    winners = [outcome for outcome in outcomes if isinstance(outcome, SignIn)]
    assert [type(outcome) for outcome in outcomes].count(BadCredentials) == 7
    assert len(winners) == 1
    assert (await gateway.refresh(winners[0].refresh_token)).uid == up.uid


async def test_of_two_processes_that_refresh_at_once_one_wins(
    gateway: IdentityGateway, path: Path, clock: Clock
) -> None:
    second = LocalIdentity(path, clock=clock)
    up = await gateway.sign_up("ada@jiga.test", PASSWORD)
    for _ in range(20):
        calls = [one.refresh(up.refresh_token) for one in (gateway, second)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["BadCredentials", "SignIn"]
        up = next(outcome for outcome in outcomes if isinstance(outcome, SignIn))
    await second.close()


async def test_a_deleted_account_leaves_nothing_in_the_file(gateway: IdentityGateway, path: Path) -> None:
    up = await gateway.sign_up("ada@jiga.test", PASSWORD)
    await gateway.refresh(up.refresh_token)
    await gateway.delete(up.uid)
    with closing(sqlite3.connect(path)) as database:
        for table in ("tokens", "accounts"):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


async def test_a_refresh_token_dies_after_30_days_and_leaves_the_file(
    gateway: IdentityGateway, path: Path, clock: Clock
) -> None:
    up = await gateway.sign_up("ada@jiga.test", PASSWORD)
    clock.advance(days=29)
    kept = await gateway.refresh(up.refresh_token)
    clock.advance(days=30)
    await fails(BadCredentials, gateway.refresh(kept.refresh_token))
    await gateway.sign_in("ada@jiga.test", PASSWORD)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM tokens").fetchone() == (1,)


async def test_ta04_a_token_lives_an_hour_and_not_a_second_longer(gateway: IdentityGateway, clock: Clock) -> None:
    up = await gateway.sign_up("ada@jiga.test", PASSWORD)
    identity = await gateway.verify(up.id_token, check_revoked=False)
    assert (identity.issued_at.microsecond, identity.expires_at - identity.issued_at) == (0, timedelta(hours=1))
    clock.now = identity.expires_at - timedelta(seconds=1)
    assert await gateway.verify(up.id_token, check_revoked=True) == identity
    clock.now = identity.expires_at
    await fails(Unauthenticated, gateway.verify(up.id_token, check_revoked=False))
    clock.now = identity.issued_at - timedelta(seconds=10)
    assert await gateway.verify(up.id_token, check_revoked=False) == identity
    clock.now = identity.issued_at - timedelta(seconds=11)
    await fails(Unauthenticated, gateway.verify(up.id_token, check_revoked=False))


async def test_ta04_a_token_that_starts_later_is_refused(gateway: IdentityGateway, path: Path, clock: Clock) -> None:
    up = await gateway.sign_up("ada@jiga.test", PASSWORD)
    claims = jwt.decode(up.id_token, options={"verify_signature": False})
    with closing(sqlite3.connect(path)) as database:
        kid, secret = database.execute("SELECT kid, secret FROM keys").fetchone()
    for ahead, accepted in ((5, True), (61, False)):
        token = jwt.encode(claims | {"nbf": int(clock().timestamp()) + ahead}, secret, headers={"kid": kid})
        if accepted:
            assert (await gateway.verify(token, check_revoked=False)).uid == up.uid
        else:
            await fails(Unauthenticated, gateway.verify(token, check_revoked=False))


async def test_ta05_another_process_hears_of_a_revocation_within_30_seconds(
    gateway: IdentityGateway, path: Path, clock: Clock
) -> None:
    up = await gateway.sign_up("ada@jiga.test", PASSWORD)
    second = LocalIdentity(path, clock=clock)
    assert (await second.verify(up.id_token, check_revoked=False)).uid == up.uid  # one file, one key
    await gateway.revoke(up.uid)
    await fails(BadCredentials, second.refresh(up.refresh_token))
    assert (await second.verify(up.id_token, check_revoked=False)).uid == up.uid
    clock.advance(seconds=30)
    await fails(Unauthenticated, second.verify(up.id_token, check_revoked=False))
    back = await second.sign_in("ada@jiga.test", PASSWORD)
    assert (await second.verify(back.id_token, check_revoked=False)).uid == up.uid
    await gateway.delete(up.uid)
    await fails(Unauthenticated, second.verify(back.id_token, check_revoked=True))
    await fails(Unauthenticated, second.verify(back.id_token, check_revoked=False))
    await second.close()


async def test_tokens_and_accounts_outlive_a_restart(gateway: IdentityGateway, path: Path, clock: Clock) -> None:
    up = await gateway.sign_up("ada@jiga.test", PASSWORD)
    await gateway.close()
    restarted = LocalIdentity(path, clock=clock)
    assert (await restarted.verify(up.id_token, check_revoked=True)).uid == up.uid
    assert (await restarted.refresh(up.refresh_token)).uid == up.uid
    assert (await restarted.sign_in("ada@jiga.test", PASSWORD)).uid == up.uid
    await restarted.close()


async def test_another_file_has_another_key(gateway: IdentityGateway, tmp_path: Path, clock: Clock) -> None:
    up = await gateway.sign_up("ada@jiga.test", PASSWORD)
    other = LocalIdentity(tmp_path / "other.sqlite", clock=clock)
    await fails(Unauthenticated, other.verify(up.id_token, check_revoked=False))
    await other.close()


async def test_emails_are_trusted_only_where_told(tmp_path: Path, clock: Clock) -> None:
    for trusted in (True, False):
        gateway = LocalIdentity(tmp_path / f"{trusted}.sqlite", clock=clock, trust_emails=trusted)
        up = await gateway.sign_up("ada@jiga.test", PASSWORD)
        assert (await gateway.verify(up.id_token, check_revoked=False)).email_verified is trusted
        await gateway.close()


async def test_ta09_ten_failures_close_an_email_for_15_minutes(gateway: IdentityGateway, clock: Clock) -> None:
    await gateway.sign_up("ada@jiga.test", PASSWORD)
    for email in ("ada@jiga.test", "nobody@jiga.test"):  # no difference between the two
        outcomes = [(await tries(gateway, email, 1))[0] for _ in range(10)]
        assert {type(outcome) for outcome in outcomes} == {BadCredentials}
        assert (await fails(RateLimited, gateway.sign_in(email, PASSWORD))).retry_after_seconds == 900
    await gateway.sign_up("max@jiga.test", PASSWORD)
    await gateway.sign_in("max@jiga.test", PASSWORD)  # others are not held up
    clock.advance(seconds=899)
    assert (await fails(RateLimited, gateway.sign_in(" ADA@jiga.test", PASSWORD))).retry_after_seconds == 1
    clock.advance(seconds=1)
    await gateway.sign_in("ada@jiga.test", PASSWORD)


async def test_ta09_a_success_forgets_the_failures(gateway: IdentityGateway) -> None:
    await gateway.sign_up("ada@jiga.test", PASSWORD)
    for _ in range(2):
        assert {type(outcome) for outcome in await tries(gateway, "ada@jiga.test", 8)} == {BadCredentials}
        await gateway.sign_in("ada@jiga.test", PASSWORD)


async def test_ta09_guesses_sent_at_once_are_counted(gateway: IdentityGateway) -> None:
    outcomes = [type(outcome) for outcome in await tries(gateway, "ada@jiga.test", 60)]
    guessed = outcomes.count(BadCredentials)
    assert 10 <= guessed <= 11  # two threads hash: one more guess may be under way when the tenth fails
    assert outcomes.count(RateLimited) == 60 - guessed


async def test_an_unknown_email_costs_the_same_hash(gateway: IdentityGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, verify = [], argon2.PasswordHasher.verify

    def watched(hasher: argon2.PasswordHasher, hashed: str, password: str) -> Any:
        seen.append(argon2.extract_parameters(hashed))
        return verify(hasher, hashed, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", watched)
    await gateway.sign_up("ada@jiga.test", PASSWORD)
    for email in ("ada@jiga.test", "nobody@jiga.test"):
        await fails(BadCredentials, gateway.sign_in(email, "wrong"))
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert (seen[0].memory_cost, seen[0].time_cost, seen[0].parallelism) == (19_456, 2, 1)


async def test_two_hashes_run_at_once_and_no_more(gateway: IdentityGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, both = 0, 0, threading.Barrier(2)
    lock = threading.Lock()

    def slow(hasher: argon2.PasswordHasher, password: str) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait(5)  # passes only when a second hash runs beside this one
        with lock:
            running -= 1
        return "$argon2id$"

    monkeypatch.setattr(argon2.PasswordHasher, "hash", slow)
    await asyncio.gather(*(gateway.sign_up(f"user{place}@jiga.test", PASSWORD) for place in range(10)))
    assert most == 2


async def test_the_file_is_private_and_holds_no_secret_in_clear(gateway: IdentityGateway, path: Path) -> None:
    up = await gateway.sign_up("ada@jiga.test", "a-password-canary")
    assert path.stat().st_mode & 0o777 == 0o600
    content = path.read_bytes()
    for secret in ("a-password-canary", up.refresh_token, up.id_token.rsplit(".", maxsplit=1)[-1]):
        assert secret.encode() not in content
    assert b"$argon2id$v=19$m=19456,t=2,p=1$" in content


async def test_a_file_that_was_open_to_others_is_closed(path: Path, clock: Clock) -> None:
    path.parent.mkdir(parents=True)
    path.touch(0o644)
    gateway = LocalIdentity(path, clock=clock)
    await gateway.sign_up("ada@jiga.test", PASSWORD)
    assert path.stat().st_mode & 0o777 == 0o600
    await gateway.close()


async def test_a_locked_file_is_unavailable_and_works_again(gateway: IdentityGateway, path: Path) -> None:
    up = await gateway.sign_up("ada@jiga.test", PASSWORD)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        await fails(Unavailable, gateway.refresh(up.refresh_token))
        other.execute("ROLLBACK")
    assert (await gateway.refresh(up.refresh_token)).uid == up.uid


async def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "text").write_text("this is no database, and long enough to be looked at" * 50)
    for path in (tmp_path, tmp_path / "text", tmp_path / "text" / "below"):
        gateway = LocalIdentity(path, clock=clock)
        await fails(Unavailable, gateway.sign_up("ada@jiga.test", PASSWORD))
        await fails(Unavailable, gateway.sign_in("ada@jiga.test", PASSWORD))
        await gateway.close()


STARTER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from integrations.local.identity import LocalIdentity

async def main():
    gateway = LocalIdentity(Path(sys.argv[1]), clock=lambda: datetime.now(UTC))
    print((await gateway.sign_up(sys.argv[2], "jiga-demo")).id_token)
    await gateway.close()

asyncio.run(main())
"""


async def test_processes_that_start_at_once_share_one_key(path: Path) -> None:
    root = Path(__file__).parents[2]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER, str(path), f"user{place}@jiga.test"], stdout=subprocess.PIPE, cwd=root
        )
        for place in range(3)
    ]
    tokens = [process.communicate(timeout=30)[0].decode().strip() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    gateway = LocalIdentity(path, clock=lambda: datetime.now(UTC))
    emails = [(await gateway.verify(token, check_revoked=True)).email for token in tokens]
    assert emails == ["user0@jiga.test", "user1@jiga.test", "user2@jiga.test"]
    await gateway.close()


async def test_a_sign_in_lists_its_device_and_its_last_refresh(gateway: IdentityGateway, clock: Clock) -> None:
    up = await gateway.sign_up("ada@jiga.test", PASSWORD, device="A laptop")
    began = clock()
    clock.now += timedelta(minutes=30)
    phone = await gateway.sign_in("ada@jiga.test", PASSWORD, device="A phone")
    clock.now += timedelta(minutes=30)
    again = await gateway.refresh(up.refresh_token)
    listed = await gateway.sign_ins(up.uid)
    half = timedelta(minutes=30)
    assert [(each.device, each.created_at, each.used_at) for each in listed] == [
        ("A laptop", began, began + 2 * half),
        ("A phone", began + half, began + half),
    ]
    mine = await gateway.verify(again.id_token, check_revoked=True)
    assert (mine.sign_in_id, mine.signed_in_at) == (listed[0].id, began.replace(microsecond=0))
    await gateway.refresh(again.refresh_token, device="A newer laptop")
    assert [each.device for each in await gateway.sign_ins(up.uid)] == ["A newer laptop", "A phone"]
    await gateway.verify(phone.id_token, check_revoked=True)
    clock.now += timedelta(days=31)
    assert await gateway.sign_ins(up.uid) == ()


async def test_ta05_the_theft_of_a_refresh_token_ends_its_sign_in_alone(gateway: IdentityGateway, clock: Clock) -> None:
    up = await gateway.sign_up("ada@jiga.test", PASSWORD)
    other = await gateway.sign_in("ada@jiga.test", PASSWORD)
    mine = await gateway.refresh(up.refresh_token)
    clock.now += timedelta(seconds=6)
    with pytest.raises(BadCredentials):
        await gateway.refresh(up.refresh_token)
    with pytest.raises(Unauthenticated):
        await gateway.verify(mine.id_token, check_revoked=True)
    await gateway.verify(other.id_token, check_revoked=True)
    assert len(await gateway.sign_ins(up.uid)) == 1
