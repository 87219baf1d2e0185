"""Receipts: what a leaf says, that it says all of an entry, and that a user's file holds or says why not."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import merkle, receipts
from domain.ids import Kind, derived_id
from domain.ledger import Balances, Entry, EntryKind, Posting
from domain.money import Dof
from domain.receipt_files import check_file, to_file
from domain.receipts import GENESIS, Digest, Receipt, Run, Tampered
from tests.make import NOW, STEADY, user_id

ADA, MAX = user_id("ada"), user_id("max")
KEY = bytes(range(32))
DAY = date(2026, 3, 1)


def entry(number: int = 1, **changes: Any) -> Entry:
    """max gives 30 of 100 DOF to ada, who owed 10."""
    plain = Entry(
        id=derived_id(Kind.ENTRY, "made", number),
        kind=EntryKind.TRANSFER,
        ref="txn_made",
        actor=MAX,
        at=NOW + timedelta(seconds=number),
        postings=(
            Posting(f"user:{MAX}:available", f"user:{ADA}:debt", Dof(10)),
            Posting(f"user:{MAX}:available", f"user:{ADA}:available", Dof(20)),
        ),
        after={MAX: Balances(number, Dof(70), Dof(0), Dof(0)), ADA: Balances(4, Dof(20), Dof(0), Dof(0))},
        user_ids=tuple(sorted((ADA, MAX))),
    )
    return replace(plain, **changes)


# ---- leaves


def test_a_leaf_is_what_its_description_says() -> None:
    """Written out by hand: whoever verifies has this text alone. The last line may never change."""
    one = entry()
    at = "2026-03-01T12:00:01.000000Z"
    postings = (
        f'[["user:{MAX}:available","user:{ADA}:debt",10],["user:{MAX}:available","user:{ADA}:available",20]]'.encode()
    )
    parts = {
        "book": b'["book","txn_made","' + MAX.encode() + b'",null,' + postings + b"]",
        ADA: b'["share","' + ADA.encode() + b'",[20,0,-10,0],[4,20,0,0,0]]',
        MAX: b'["share","' + MAX.encode() + b'",[-30,0,0,0],[1,70,0,0,0]]',
    }
    hidden = []
    for name in ("book", *sorted((ADA, MAX))):
        salt = hmac.new(KEY, f"{one.id} {name}".encode(), hashlib.sha256).digest()
        hidden.append(hmac.new(salt, parts[name], hashlib.sha256).hexdigest())
    text = json.dumps([one.id, "TRANSFER", at, hidden]).replace(" ", "")
    assert receipts.leaf_of(one, KEY) == hashlib.sha256(b"\x00\x01" + text.encode()).digest()
    assert receipts.leaf_of(one, KEY).hex() == "d1d681e126407e4e5b2334a25cfea2e528febfe5f738ffc00dd3d47cf6743abd"


def test_a_digest_is_what_its_description_says() -> None:
    digest = Digest("2026-03-01", 2, "ab" * 32, GENESIS, NOW, KEY, late={"ent_": "2026-02-27"})
    text = json.dumps(["2026-03-01", 2, 1, "ab" * 32, "0" * 64, "2026-03-01T12:00:00.000000Z"]).replace(" ", "")
    assert digest.digest == hashlib.sha256(b"\x02\x01" + text.encode()).hexdigest()


def other_entries() -> Iterator[tuple[str, Entry]]:
    """The entry with one thing of it changed, by the field."""
    one = entry()
    first, second = one.postings
    yield "id", replace(one, id=derived_id(Kind.ENTRY, "other"))
    yield "kind", replace(one, kind=EntryKind.ADJUST)
    yield "ref", replace(one, ref="txn_other")
    yield "actor", replace(one, actor=ADA)
    yield "at", replace(one, at=one.at + timedelta(microseconds=1))
    yield "corrects", replace(one, corrects="ent_other")
    yield "postings", replace(one, postings=(first,))
    yield "postings", replace(one, postings=(second, first))
    for name, value in (("source", "promo"), ("target", "promo"), ("amount", Dof(11))):
        yield f"postings.{name}", replace(one, postings=(replace(first, **{name: value}), second))
    for name in ("version", "available", "held", "debt", "payable"):
        value: Any = 9 if name == "version" else Dof(9)
        yield f"after.{name}", replace(one, after=one.after | {ADA: replace(one.after[ADA], **{name: value})})
    yield "after", replace(one, after={MAX: one.after[MAX]})


@pytest.mark.parametrize(("name", "other"), [*other_entries()])
def test_a_leaf_says_all_of_an_entry(name: str, other: Entry) -> None:
    assert receipts.leaf_of(other, KEY) != receipts.leaf_of(entry(), KEY)


def test_no_field_of_an_entry_is_forgotten() -> None:
    """A new field is sealed too, or is named here as one that says nothing new."""
    derived = {"user_ids", "bucket"}
    changed = {name for name, _ in other_entries()}
    wanted = {each.name for each in fields(Entry)} - derived
    wanted |= {f"postings.{each.name}" for each in fields(Posting)} | {
        f"after.{each.name}" for each in fields(Balances)
    }
    assert changed == wanted


def test_what_is_derived_changes_nothing() -> None:
    assert receipts.leaf_of(entry(bucket=5, user_ids=()), KEY) == receipts.leaf_of(entry(), KEY)


def test_the_same_share_looks_different_each_time() -> None:
    """Nobody finds another's balance by trying: not of one day beside another's, nor of one entry beside another's."""
    seen = [*receipts.commitments(entry(1), KEY), *receipts.commitments(entry(2), KEY)]
    seen += receipts.commitments(entry(1), bytes(32))
    assert len(set(seen)) == 9


def test_moments_are_in_utc() -> None:
    there = datetime.fromisoformat("2026-03-02T00:30:00+01:00")
    assert receipts.moment(there) == "2026-03-01T23:30:00.000000Z"
    assert receipts.day_of(there) == DAY
    assert receipts.bounds(DAY) == (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))


def test_a_day_is_over_when_nothing_of_it_can_be_under_way() -> None:
    end = datetime(2026, 3, 2, tzinfo=UTC)
    assert not receipts.is_over(DAY, end + timedelta(minutes=15) - timedelta(microseconds=1))
    assert receipts.is_over(DAY, end + timedelta(minutes=15))


def test_places_sort_as_a_day_is_read() -> None:
    places = [receipts.place(entry(number, bucket=bucket)) for bucket in (0, 7) for number in (1, 2)]
    places.append(receipts.late_place("ent_0"))
    assert places == sorted(places)
    assert [receipts.id_at(each) for each in places[:2]] == [entry(1).id, entry(2).id]


# ---- receipts and files


def seal(entries: list[Entry], day: date = DAY, previous: str = GENESIS, late: dict[str, str] | None = None) -> Any:
    """A day's digest and its one run."""
    late = late or {}
    placed = sorted(
        (receipts.late_place(each.id) if each.id in late else receipts.place(each), receipts.leaf_of(each, KEY))
        for each in entries
    )
    hashes = [leaf for _, leaf in placed]
    root = merkle.fold(hashes)
    starts = (placed[0][0],) if placed else ()
    roots = root if placed else b""
    digest = Digest(day.isoformat(), len(placed), root.hex(), previous, NOW, KEY, late, starts, roots)
    return digest, Run(digest.run_id(0), digest.id, tuple(place for place, _ in placed), b"".join(hashes))


def prove(one: Entry, of: str, digest: Digest, run: Run) -> Receipt:
    where = receipts.late_place(one.id) if one.id in digest.late else receipts.place(one)
    return receipts.prove(one, of, digest, 0, run, where)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_party_can_prove_every_entry(count: int) -> None:
    entries = [entry(number) for number in range(1, count + 1)]
    digest, run = seal(entries)
    for one in entries:
        for who in (ADA, MAX):
            receipt = prove(one, who, digest, run)
            assert receipt.holds
            assert (receipt.entry[0], receipt.share[1]) == (one.id, who)
            assert (receipt.root, receipt.digest, receipt.is_late) == (digest.root, digest.digest, False)


def test_a_receipt_shows_nobody_elses_money() -> None:
    one = entry()
    receipt = prove(one, MAX, *seal([one, entry(2)]))
    shown = json.dumps([receipt.entry, receipt.share, receipt.commitments])
    assert ADA not in shown
    assert receipt.share == ["share", MAX, [-30, 0, 0, 0], [1, 70, 0, 0, 0]]


def test_a_stranger_has_no_share() -> None:
    one = entry()
    with pytest.raises(Tampered):
        prove(one, user_id("eve"), *seal([one]))


@pytest.mark.parametrize(("name", "other"), [each for each in other_entries() if each[0] not in ("id", "at")])
def test_a_changed_entry_has_no_receipt(name: str, other: Entry) -> None:
    digest, run = seal([entry(), entry(2)])
    with pytest.raises(Tampered, match="not as it was sealed"):
        prove(other, MAX, digest, run)


def chain(number: int, version: int) -> Entry:
    """max gets 5 DOF of the house."""
    postings = (Posting("promo", f"user:{MAX}:available", Dof(5)),)
    after = {MAX: Balances(version, Dof(5 * version), Dof(0), Dof(0))}
    at = NOW + timedelta(days=number)
    return entry(number, kind=EntryKind.ADJUST, at=at, postings=postings, after=after, user_ids=(MAX,))


def a_file(days: int = 4) -> dict[str, Any]:
    """max's export: an entry a day, the last one not sealed, the second one late by a day."""
    entries = [chain(number, number + 1) for number in range(days + 1)]
    digests, proofs, previous = [], [], GENESIS
    for number in range(days):
        day = DAY + timedelta(days=number)
        inside = [entries[number]] if number not in (1, 2) else [] if number == 1 else entries[1:3]
        late = {entries[1].id: (DAY + timedelta(days=1)).isoformat()} if number == 2 else {}
        digest, run = seal([*inside, entry(100 + number, at=entries[number].at)], day, previous, late)
        proofs += [prove(each, MAX, digest, run) for each in inside]
        digests.append(digest)
        previous = digest.digest
    told = to_file(MAX, True, digests, proofs, entries[days:])
    return json.loads(json.dumps(told))


def test_a_file_holds_by_itself() -> None:
    told = a_file()
    verdict = check_file(told)
    assert verdict.problems == ()
    assert (verdict.user_id, verdict.sealed, verdict.late, verdict.open) == (MAX, 4, 1, 1)
    assert (verdict.last_day, verdict.last_digest) == ("2026-03-04", told["digests"][-1]["digest"])


def test_a_file_is_held_against_digests_that_the_reader_knows() -> None:
    told = a_file()
    known = [each["digest"] for each in told["digests"]]
    assert check_file(told, known).problems == ()
    assert check_file(told, ["ab" * 32]).problems == (f"The digest {'ab' * 32} that you know is not in the file.",)


def test_an_entry_that_is_left_out_is_missed() -> None:
    told = a_file()
    del told["receipts"][1]
    assert check_file(told).problems == (f"{chain(2, 3).id} made the wallet's version 3, and 2 is missing.",)
    told = a_file()
    del told["receipts"][0]
    assert check_file(told).problems == (f"{chain(1, 2).id} made the wallet's version 2, and 1 is missing.",)
    assert check_file(told | {"complete": False}).problems == ()


def test_an_entry_cannot_be_told_twice() -> None:
    told = a_file()
    told["receipts"].append(told["receipts"][0])
    assert "1 entries are there more than once." in check_file(told).problems


def test_a_day_that_is_left_out_is_missed() -> None:
    told = a_file()
    del told["digests"][1]
    assert check_file(told).problems == (
        "No digest lies between 2026-03-01 and 2026-03-03, and each day has one.",
        "The digest of 2026-03-03 does not name that of 2026-03-01.",
    )


@pytest.mark.parametrize("data", [None, [], "", 5, {}, {"format": "x"}, {"receipts": {}, "digests": 3}])
def test_what_is_no_export_is_told_so(data: Any) -> None:
    assert check_file(data).problems[0].startswith("The file is no export of receipts")


def leaves_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every text, number, truth and null of a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inside is None:
        yield path
        return
    for key, each in inside:
        yield from leaves_of(each, (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    *way, last = path
    for key in way:
        value = value[key]
    value[last] = new


FILE = a_file()
PLACES = [path for path in leaves_of(FILE) if path[0] != "open"]
STRANGE = st.sampled_from([None, True, -1, 0, 1.5, "", "zz", "\ud800", [], {}, [[]], 10**30, "a" * 64, GENESIS])


@pytest.mark.parametrize("path", PLACES, ids=str)
def test_every_single_change_of_a_file_is_found(path: tuple[Any, ...]) -> None:
    told = copy.deepcopy(FILE)
    value: Any = told
    for key in path:
        value = value[key]
    if isinstance(value, str):
        new: Any = ("b" if value[:1] == "a" else "a") + value[1:]
    else:
        new = not value if isinstance(value, bool) else 7 if value is None else value + 1
    if path == ("complete",):
        less = check_file(told | {"complete": False})
        assert less.problems == ()  # it claims less
        return
    put(told, path, new)
    assert check_file(told).problems != (), path


@STEADY
@given(st.sampled_from([*leaves_of(FILE)]), STRANGE)
def test_no_file_stops_the_check(path: tuple[Any, ...], new: Any) -> None:
    told = copy.deepcopy(FILE)
    put(told, path, new)
    assert isinstance(check_file(told).problems, tuple)
