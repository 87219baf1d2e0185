"""Every list is a page: all of it, once, whatever is added meanwhile; its cursors serve nothing else (row T-P09)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from graphql import GraphQLObjectType, get_named_type

from domain import endpoints
from domain.acts import Act
from domain.agents import AgentType, AgentVersion, Rank, SpecialistType, Specialization, version_id
from domain.appeals import Appeal
from domain.endpoints import Delivery, WebhookEvent
from domain.ids import Kind, derived_id
from domain.ledger import PROMO, Entry, EntryKind, Posting, available
from domain.listings import Listing, ListingStatus
from domain.money import Dof, Money
from domain.notifications import Notification, NotificationBox
from domain.orders import Order
from domain.payouts import Payout, PayoutState
from domain.pricing import Pricing
from domain.purchases import Rail
from domain.reports import Report, ReportReason
from domain.reviews import Review
from domain.transactions import Transaction, TransactionStatus, TransactionType
from domain.users import NotificationKind, Role
from firestore.collections import (
    ACTS,
    AGENT_VERSIONS,
    AGENTS,
    APPEALS,
    DELIVERIES,
    ENDPOINTS,
    ENTRIES,
    LISTINGS,
    NOTIFICATION_BOXES,
    NOTIFICATIONS,
    ORDERS,
    OUTBOX,
    PAYOUTS,
    REPORTS,
    REVIEWS,
    SESSIONS,
    TRANSACTIONS,
    USERS,
)
from firestore.outbox import row
from firestore.records import Collection
from firestore.rows import RowState, bucket_of
from tests.api.api import Json, Person, Rig, codes, graph, missing
from tests.make import MINUTE, NOW
from tests.nouns import HOUR, a_configuration, a_hire, a_listing, a_user, a_wish, an_agent, an_offer, user_id

ADA, MAX = user_id("ada"), user_id("max")


def _at(number: int) -> Any:
    """Two of a kind share each moment, so that the id decides between them."""
    return NOW + (number // 2) * MINUTE


def _agent(number: int, **changes: Any) -> Any:
    made = an_agent(f"agent {number}", ADA, created_at=_at(number), **changes)
    return replace(made, published=True, listing_id=derived_id(Kind.LISTING, made.id))


def _listing(number: int, **changes: Any) -> Listing:
    return replace(a_listing(_agent(number)), created_at=_at(number), **changes)


def _order(number: int) -> Order:
    id_ = derived_id(Kind.ORDER, "waiting", number)
    return Order(id_, Rail.SHOPIFY, "jiga.test", str(number), _at(number), in_review=True, review="doubtful")


def _dead(number: int) -> Any:
    made = row(("dead", number), _at(number), timedelta(days=7), task="announce")
    return replace(made, state=RowState.DEAD)


def _moderator(number: int) -> Any:
    """Two share each address: only a verified one is one's own."""
    return a_user(f"moderator {number}", role=Role.MODERATOR, email=f"m{number // 2 + 500:04}@jiga.test")


def _entry(number: int) -> Entry:
    id_ = derived_id(Kind.ENTRY, "listed", number)
    moved = (Posting(PROMO, available(MAX), Dof(5)),)
    return Entry(id_, EntryKind.ADJUST, "ref", ADA, _at(number), moved, user_ids=(MAX,), bucket=bucket_of(id_))


def _appeal(number: int) -> Appeal:
    id_ = derived_id(Kind.APPEAL, "listed", number)
    return Appeal(id_, _listing(0).id, ADA, "It does not.", "It lies.", _at(number))


def _report(number: int) -> Report:
    id_ = derived_id(Kind.REPORT, "listed", number)
    return Report(id_, MAX, ADA, ReportReason.SPAM, "Look.", _at(number))


def _act(number: int) -> Act:
    return Act(derived_id(Kind.ACT, "listed", number), _at(number), ADA, Role.ADMIN, "featureListing", _listing(0).id)


def _session(number: int) -> Any:
    made = a_hire(_listing(number), MAX, f"key {number}", transaction_id=None)
    return replace(made, started_at=_at(number))


def _transaction(number: int) -> Transaction:
    id_ = derived_id(Kind.TRANSACTION, "listed", number)
    agent = _agent(number)
    return Transaction(
        id_, MAX, TransactionType.HIRE, TransactionStatus.COMPLETED, -5, _at(number), agent_id=agent.id,
        counterparty_id=ADA, session_id=_session(number).id,
    )  # fmt: skip


def _payout(number: int) -> Payout:
    id_ = derived_id(Kind.PAYOUT, "listed", number)
    transaction_id = derived_id(Kind.TRANSACTION, "payout", id_)
    return Payout(
        id_, MAX, Dof(500), Money(1, "USD"), "acct", PayoutState.SENT, "key", transaction_id, "mark", _at(number)
    )


def _review(number: int) -> Review:
    session, listing = _session(number), _listing(0)
    id_ = derived_id(Kind.REVIEW, session.id)
    return Review(
        id_, listing.id, listing.agent_id, session.id, MAX, ADA, 4, None, "Good.", 2, _at(number), _at(number)
    )


def _version(number: int) -> AgentVersion:
    agent, place = _agent(0), number + 1
    return AgentVersion(version_id(agent.id, place), agent.id, place, a_configuration(), (), ADA, _at(number))


def _notification(number: int) -> Notification:
    """Numbered where the others have moments."""
    id_ = derived_id(Kind.NOTIFICATION, "listed", number)
    args, until = {"badge": "Chess"}, NOW + 365 * 24 * HOUR
    return Notification(id_, MAX, NotificationKind.BADGES, "badge_awarded", args, 1_000 + number, _at(number), until)


ENDPOINT = endpoints.create(
    derived_id(Kind.ENDPOINT, "listed"), MAX, "https://max.example/", tuple(WebhookEvent), bytes(32), NOW
)


def _delivery(number: int) -> Delivery:
    id_, until = derived_id(Kind.DELIVERY, "listed", number), NOW + 30 * 24 * HOUR
    return Delivery(id_, ENDPOINT.id, MAX, WebhookEvent.AGENT_HIRED, {}, _at(number), until)


class Shelf(NamedTuple):
    """A list: where it is in the schema, who reads it, how it is asked for, of what records."""

    field: str
    who: str
    query: str
    collection: Collection[Any]
    make: Callable[[int], Any]
    key: str = "id"
    deep: str = ""
    rpcs: int = 1


PEOPLE_OF = "agent { name owner { displayName stats { totalHires } } }"
PAGE = """(first: $first, after: $after) {{ edges {{ cursor node {{ {key} {deep} }} }} nodes {{ {key} }}
    pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }}"""
SHELVES = (
    Shelf("Query.listings", "eve", "listings", LISTINGS, _listing, deep=f"{PEOPLE_OF} owner {{ displayName }}", rpcs=3),
    Shelf(
        "Query.searchListings",
        "eve",
        'searchListings(query:"",sort:NEWEST)',
        LISTINGS,
        _listing,
        deep=PEOPLE_OF,
        rpcs=4,
    ),
    Shelf(
        "Query.reviewQueue",
        "root",
        "reviewQueue",
        ORDERS,
        _order,
        deep="paid { amount } refunded { amount currency }",
        rpcs=2,
    ),
    Shelf("Query.deadLetters", "root", "deadLetters", OUTBOX, _dead, deep="task", rpcs=2),
    Shelf("Query.ledgerEntries", "root", "ledgerEntries", ENTRIES, _entry, deep="postings { amount }", rpcs=9),
    Shelf(
        "Query.moderatedListings",
        "root",
        "moderatedListings(status:ACTIVE)",
        LISTINGS,
        _listing,
        deep=f"{PEOPLE_OF} statusReason",
        rpcs=5,
    ),
    Shelf("Query.appeals", "root", "appeals", APPEALS, _appeal, deep="text", rpcs=2),
    Shelf("Query.reports", "root", "reports", REPORTS, _report, deep="reporter { displayName }", rpcs=3),
    Shelf(
        "Query.users",
        "root",
        "users(filter:{role:MODERATOR})",
        USERS,
        _moderator,
        deep="user { displayName stats { totalHires } }",
        rpcs=3,
    ),
    Shelf("Query.acts", "root", "acts", ACTS, _act, deep="actor { displayName }", rpcs=3),
    Shelf(
        "Viewer.agents", "ada", "viewer agents", AGENTS, _agent, deep="owner { displayName } listing { title }", rpcs=2
    ),
    Shelf(
        "Viewer.sessions",
        "max",
        "viewer sessions",
        SESSIONS,
        _session,
        deep=f"{PEOPLE_OF} listing {{ title owner {{ displayName }} }} hirer {{ displayName }}",
        rpcs=4,
    ),
    Shelf(
        "Viewer.transactions",
        "max",
        "viewer transactions",
        TRANSACTIONS,
        _transaction,
        deep=f"{PEOPLE_OF} session {{ dofHeld }} counterparty {{ displayName }}",
        rpcs=3,
    ),
    Shelf("Viewer.payouts", "max", "viewer payouts", PAYOUTS, _payout, deep="money { amount }"),
    Shelf("Viewer.notifications", "max", "viewer notifications", NOTIFICATIONS, _notification, deep="title", rpcs=3),
    Shelf("WebhookEndpoint.deliveries", "max", "viewer webhookEndpoints deliveries", DELIVERIES, _delivery, rpcs=3),
    Shelf("User.listings", "eve", "user(id:ADA) listings", LISTINGS, _listing, deep=PEOPLE_OF, rpcs=4),
    Shelf(
        "Listing.reviews",
        "eve",
        "listing(id:LISTING) reviews",
        REVIEWS,
        _review,
        deep="reviewer { displayName } listing { title }",
        rpcs=3,
    ),
    Shelf(
        "Agent.versions",
        "ada",
        "agent(id:AGENT) versions",
        AGENT_VERSIONS,
        _version,
        "version",
        "configuration { primary { model } }",
        2,
    ),
)
SHOWN = pytest.mark.parametrize("shelf", SHELVES, ids=lambda shelf: shelf.field)


def _query(shelf: Shelf, deep: str = "") -> str:
    ids = {"ADA": ADA, "LISTING": _listing(0).id, "AGENT": _agent(0).id}
    *outer, field = shelf.query.split()
    page = PAGE.format(key=shelf.key, deep=deep)
    inside = f"{field[:-1]}, {page[1:]}" if field.endswith(")") else f"{field}{page}"
    for each in reversed(outer):
        inside = f"{each} {{ {inside} }}"
    for name, id_ in ids.items():
        inside = inside.replace(f"id:{name}", f'id: "{id_}"')
    return f"query ($first: Int, $after: String) {{ {inside} }}"


async def _furnish(rig: Rig, shelf: Shelf, count: int, *, deep: bool = False) -> Person:
    """The shelf with so many records, and who reads it."""
    roles = {"root": Role.ADMIN}
    await rig.put(USERS, *(a_user(name, role=roles.get(name, Role.USER)) for name in ("ada", "max", "eve", "root")))
    await rig.put(ENDPOINTS, ENDPOINT)
    await rig.put(NOTIFICATION_BOXES, NotificationBox(MAX, endpoint_ids=(ENDPOINT.id,)))
    for collection, make in ((AGENTS, _agent), (LISTINGS, _listing), (SESSIONS, _session)):
        others = collection.name != shelf.collection.name and (
            deep or shelf.field in ("Listing.reviews", "Agent.versions")
        )
        if others:
            await rig.put(collection, *(make(number) for number in range(count if deep else 1)))
    await rig.put(shelf.collection, *(shelf.make(number) for number in range(count)))
    return rig.person(shelf.who)


async def _page(person: Person, shelf: Shelf, first: int | None, after: str | None, deep: str = "") -> Json:
    found = await person.ask(_query(shelf, deep), first=first, after=after)
    while "pageInfo" not in found:
        (found,) = found if isinstance(found, list) else found.values()
    keys = [edge["node"][shelf.key] for edge in found["edges"]]
    assert [node[shelf.key] for node in found["nodes"]] == keys
    info = found["pageInfo"]
    assert info["startCursor"] == (found["edges"][0]["cursor"] if keys else None)
    assert info["hasPreviousPage"] is (after is not None)
    return keys, info, [edge["cursor"] for edge in found["edges"]]


async def _all(
    person: Person, shelf: Shelf, first: int, between: Callable[[], Awaitable[None]] | None = None
) -> list[Any]:
    """Every key, page by page; `between` happens after each."""
    found, after = [], None
    for _ in range(100):
        keys, info, _ = await _page(person, shelf, first, after)
        assert len(keys) <= first
        found += keys
        if not info["hasNextPage"]:
            return found
        after = info["endCursor"]
        if between is not None:
            await between()
    raise AssertionError("the list does not end")


OF_THE_CATALOGUE = {"Query.badges"}
"""Lists that are no documents: tests/api/test_badges.py pages through them."""


def test_the_shelves_are_every_list_of_the_schema() -> None:
    """A connection that is added is paged here, or this fails."""
    lists = {
        f"{type_.name}.{name}"
        for type_ in graph().type_map.values()
        if isinstance(type_, GraphQLObjectType) and not type_.name.startswith("__")
        for name, field in type_.fields.items()
        if get_named_type(field.type).name.endswith("Connection")
    }
    assert {shelf.field for shelf in SHELVES} == lists - OF_THE_CATALOGUE
    takes_first = {name for name in lists if {"first", "after"} <= set(_field(name).args)}
    assert takes_first == lists


def _field(name: str) -> Any:
    type_, _, field = name.partition(".")
    return graph().type_map[type_].fields[field]


@SHOWN
async def test_pages_of_any_size_make_the_whole(rig: Rig, shelf: Shelf) -> None:
    person = await _furnish(rig, shelf, 7)
    whole, info, cursors = await _page(person, shelf, 100, None)
    assert (len(whole), len(set(whole)), info["hasNextPage"]) == (7, 7, False)
    assert info["endCursor"] == cursors[-1]
    for first in (1, 2, 3, 6, 7, 8):
        assert await _all(person, shelf, first) == whole, first
    for place, cursor in enumerate(cursors):  # from any edge, not only from the page's end
        keys, _, _ = await _page(person, shelf, 100, cursor)
        assert keys == whole[place + 1 :]


@SHOWN
async def test_what_comes_meanwhile_moves_nothing(rig: Rig, shelf: Shelf) -> None:
    """Newer, older and equally old records come between the pages: what was there is told once, in its order."""
    person = await _furnish(rig, shelf, 8)
    whole, _, _ = await _page(person, shelf, 100, None)
    for first in (1, 3):
        fresh = iter(range(8 + 40 * first, 20 + 40 * first))

        async def add(fresh: Iterator[int] = fresh) -> None:
            new = next(fresh, None)
            if new is None:  # who adds for ever is read for ever
                return
            records = [shelf.make(new)]
            if shelf.key == "id":  # a version's number is its place: an older one cannot come later
                records += [shelf.make(-new)]
            await rig.put(shelf.collection, *records)

        told = await _all(person, shelf, first, add)
        assert len(told) == len(set(told))
        assert [key for key in told if key in whole] == whole


@SHOWN
async def test_what_goes_meanwhile_hides_nothing_else(rig: Rig, shelf: Shelf) -> None:
    """The record that a cursor came from is removed: the page behind it begins where it would have begun (T-P09)."""
    person = await _furnish(rig, shelf, 6)
    whole, _, cursors = await _page(person, shelf, 100, None)
    gone = whole[2] if shelf.key == "id" else version_id(_agent(0).id, whole[2])
    await rig.forget(shelf.collection.at(gone))
    keys, info, _ = await _page(person, shelf, 2, cursors[2])
    assert keys == whole[3:5]
    assert info["hasNextPage"] is True


@SHOWN
async def test_the_size_of_a_page_has_bounds(rig: Rig, shelf: Shelf) -> None:
    person = await _furnish(rig, shelf, 22)
    keys, info, _ = await _page(person, shelf, None, None)
    assert (len(keys), info["hasNextPage"]) == (20, True)
    for first in (0, -1, 101, 2**31 - 1, -(2**31)):
        error = await person.error(_query(shelf), first=first, after=None)
        if first < 101 or error["extensions"]["code"] != "COST_LIMIT_EXCEEDED":
            assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "first"}, first
            assert error["message"] == f"`first` lies between 1 and 100, not at {first}."
    for first in (2**31, "5", 5.5, True):
        answer = await person.answer(_query(shelf), first=first, after=None)
        assert codes(answer) == ["BAD_USER_INPUT"], first
        assert "data" not in answer


@SHOWN
async def test_an_empty_list_is_a_page(rig: Rig, shelf: Shelf) -> None:
    person = await _furnish(rig, shelf, 1)
    await rig.forget(shelf.collection.at(shelf.make(0).id))
    keys, info, _ = await _page(person, shelf, 5, None)
    assert keys == []
    assert info == {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None}


# ---- cursors


def _spoiled(cursor: str) -> dict[str, str]:
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    flipped = bytes([raw[0] ^ 1]) + raw[1:]
    return {
        "empty": "",
        "text": "x",
        "not base64": "!!!!",
        "cut": cursor[:-3],
        "lengthened": cursor + "AAAA",
        "twice": cursor + cursor,
        "seal changed": base64.urlsafe_b64encode(flipped).decode().rstrip("="),
        "position changed": base64.urlsafe_b64encode(raw[:12] + raw[12:].replace(b"2", b"1", 1) + b" ").decode(),
        "position replaced": base64.urlsafe_b64encode(raw[:12] + b'["a","b"]').decode(),
        "seal alone": base64.urlsafe_b64encode(raw[:12]).decode(),
        "no seal": base64.urlsafe_b64encode(raw[12:]).decode(),
        "an offset": base64.b64encode(b"arrayconnection:3").decode(),
        "a negative offset": "-1",
        "long": "A" * 50_000,
        "not ASCII": "é" * 20,
        "NUL": "\x00",
    }


@SHOWN
async def test_t_p09_a_cursor_that_is_not_the_list_s_is_refused(rig: Rig, shelf: Shelf) -> None:
    person = await _furnish(rig, shelf, 3)
    _, info, cursors = await _page(person, shelf, 2, None)
    for name, spoiled in _spoiled(cursors[0]).items():
        error = await person.error(_query(shelf), first=1, after=spoiled)
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "after"}, name
        assert error["message"].startswith("This cursor does not belong to this list: take one from its pageInfo"), name
    keys, _, _ = await _page(person, shelf, 1, cursors[0] + "=" * (-len(cursors[0]) % 4))  # padding is none of its own
    assert len(keys) == 1
    assert info["hasNextPage"] is True


async def test_t_p09_a_cursor_is_of_one_list(rig: Rig) -> None:
    """Every list's cursor at every other list, by whoever may read both."""
    cursors = {}
    for shelf in SHELVES:
        person = await _furnish(rig, shelf, 3, deep=True)
        cursors[shelf.field] = (await _page(person, shelf, 1, None))[1]["endCursor"]
    taken = {
        (of, at.field)
        for of, cursor in cursors.items()
        for at in SHELVES
        if codes(await rig.person(at.who).answer(_query(at), first=1, after=cursor)) == []
    }
    assert taken == {(shelf.field, shelf.field) for shelf in SHELVES}


@SHOWN
async def test_t_p09_a_cursor_is_of_one_viewer(rig: Rig, shelf: Shelf) -> None:
    """A listing's reviews are the same for all, and so are their cursors; every other list's are its reader's. Of an
    endpoint's deliveries another has nothing to ask."""
    person = await _furnish(rig, shelf, 3)
    await rig.put(USERS, a_user("mia", role=Role.ADMIN))
    other = rig.person("mia")
    _, info, _ = await _page(person, shelf, 1, None)
    answer = await other.answer(_query(shelf), first=1, after=info["endCursor"])
    refused = {"Agent.versions": ["FORBIDDEN"], "Listing.reviews": [], "WebhookEndpoint.deliveries": []}
    assert codes(answer) == refused.get(shelf.field, ["BAD_USER_INPUT"])


ARGUMENTS = (
    ("listings", 'filter: {game: "Chess"}', 'filter: {game: "Go"}'),
    ("listings", 'filter: {game: "Chess"}', "sort: NEWEST"),
    ("listings", "sort: PRICE_LOW", "sort: PRICE_HIGH"),
    ("listings", "sort: RELEVANCE", "sort: POPULAR"),
    ("listings", "", "filter: {hasMemory: false}"),
    ("viewer sessions", "status: ACTIVE", "status: ENDED"),
    ("viewer sessions", "status: ACTIVE", ""),
    ("viewer transactions", "type: HIRE", "type: PAYOUT"),
    ("viewer transactions", "type: HIRE", ""),
)


@pytest.mark.parametrize(("field", "mine", "other"), ARGUMENTS)
async def test_t_p09_a_cursor_is_of_its_arguments(rig: Rig, field: str, mine: str, other: str) -> None:
    (shelf,) = (each for each in SHELVES if each.query == field)
    await _furnish(rig, shelf, 3)
    await rig.put(LISTINGS, *(_listing(number, labels=("game:chess",)) for number in range(3)))
    person, wanted = rig.person("max"), shelf._replace(who="max")

    def asked(arguments: str) -> str:
        return _query(wanted).replace("(first: $first", f"({arguments + ', ' if arguments else ''}first: $first")

    found = await person.ask(asked(mine), first=1, after=None)
    while "pageInfo" not in found:
        (found,) = found.values()
    cursor = found["pageInfo"]["endCursor"]
    assert codes(await person.answer(asked(mine), first=2, after=cursor)) == []  # the size may change
    assert codes(await person.answer(asked(other), first=1, after=cursor)) == ["BAD_USER_INPUT"]


async def test_t_p09_a_cursor_is_of_one_subject(rig: Rig) -> None:
    """A user's listings, a listing's reviews: the id in the path is part of the seal."""
    shelf = next(each for each in SHELVES if each.field == "Listing.reviews")
    person = await _furnish(rig, shelf, 3)
    await rig.put(LISTINGS, _listing(1))
    _, info, _ = await _page(person, shelf, 1, None)
    query = _query(shelf).replace(_listing(0).id, _listing(1).id)
    assert codes(await person.answer(query, first=1, after=info["endCursor"])) == ["BAD_USER_INPUT"]


# ---- what a page costs


@SHOWN
async def test_a_page_of_a_hundred_costs_what_a_page_of_one_does(rig: Rig, shelf: Shelf) -> None:
    """In RPCs, with all that hangs on each node: a lookup by id is one of a batch (house rule 9)."""
    person = await _furnish(rig, shelf, 100, deep=True)
    costs = {}
    for first in (1, 20, 100):
        with rig.backend.measure() as counts:
            keys, _, _ = await _page(person, shelf, first, None, shelf.deep)
        assert len(keys) == first
        costs[first] = counts.rpcs
    assert costs == dict.fromkeys((1, 20, 100), shelf.rpcs)


async def test_a_hundred_owners_are_read_at_once(rig: Rig) -> None:
    """Each listing has an owner, an agent, and the agent a creator, of its own: 300 lookups, and two RPCs for them."""
    for number in range(100):
        names = (f"owner {number}", f"creator {number}")
        await rig.put(USERS, *map(a_user, names))
        owner_id, creator_id = map(user_id, names)
        agent = _agent(number, creator_id=creator_id)
        await rig.put(AGENTS, replace(agent, owner_id=owner_id))
        await rig.put(LISTINGS, _listing(number, owner_id=owner_id))
    query = """query ($first: Int) { listings(first: $first) { nodes { owner { displayName stats { totalHires } }
        agent { owner { displayName } creator { displayName } } } } }"""
    costs = {}
    for first in (1, 20, 100):
        with rig.backend.measure() as counts:
            nodes = (await rig.guest.ask(query, first=first))["listings"]["nodes"]
        assert len({node["agent"]["creator"]["displayName"] for node in nodes}) == first
        assert [node["owner"]["displayName"] for node in nodes] == [
            node["agent"]["owner"]["displayName"] for node in nodes
        ]
        costs[first] = counts.rpcs
    assert costs == {1: 3, 20: 3, 100: 3}


async def test_a_list_inside_a_list_costs_one_rpc_for_each(rig: Rig) -> None:
    """No batch reads many lists at once, so these are what the cost limit is for: exactly one RPC each, never more."""
    await _furnish(rig, SHELVES[0], 100, deep=True)
    inside = {"reviews(first: 1) { nodes { id } }": 1, "agent { listing { reviews(first: 1) { nodes { id } } } }": 2}
    for selection, extra in inside.items():
        query = f"query ($first: Int) {{ listings(first: $first) {{ nodes {{ {selection} }} }} }}"
        for first in (1, 20):
            with rig.backend.measure() as counts:
                await rig.person("eve").ask(query, first=first)
            assert counts.rpcs == extra + first + (1 if "agent" in selection else 0), selection


async def test_no_page_holds_more_than_one_answer_may(rig: Rig) -> None:
    nested = """{ listings(first: 100) { nodes { owner { listings(first: 100) { nodes {
        reviews(first: 100) { nodes { id } } } } } } } }"""
    error = await rig.guest.error(nested)
    assert error["extensions"]["code"] == "COST_LIMIT_EXCEEDED"


# ---- what listings can be asked for

GAMES, CATEGORIES, TAGS = ("Chess", "Go", "Shōgi"), ("Coaching", "Story"), ("fast", "kind", "Ünï")


def _variety(number: int) -> Listing:
    """No two alike, and every answer to every filter with some on each side."""
    games = (GAMES[number % 3], GAMES[(number + 1) % 3]) if number % 4 else ()
    kinds = (AgentType.SPECIALIST, AgentType.MENTOR, AgentType.ASSISTANT)
    field = Specialization(games, "All", SpecialistType.TRAINED) if games else None
    agent = an_agent(
        f"variety {number}",
        user_id(("ada", "cleo")[number % 2]),
        a_wish(language=("es-MX", "en", "fi")[number % 3], has_memory=number % 5 < 2, voice_id="alma"),
        type=kinds[number % 3] if games else AgentType.ASSISTANT,
        specialization=field,
        rank=tuple(Rank)[number % 4],
        has_voice_chat=number % 2 == 0,
    )
    offer = an_offer(tags=TAGS[number % 3 : number % 3 + 1], categories=CATEGORIES[number % 2 : number % 2 + 1])
    price = 100 * (number * 7 % 11 + 1)
    made = replace(
        a_listing(agent, offer),
        created_at=NOW + (number * 5 % 13) * MINUTE,
        pricing=Pricing(Dof(price), Dof(price * 8), Dof(price * 40)),
        total_hires=number * 3 % 7,
    )
    if number % 3 == 0:
        return made
    return replace(made, rating_sum=number % 5 + 1, rating_count=1, rating_milli=(number % 5 + 1) * 1_000)


OFFERED = tuple(map(_variety, range(24)))
FILTERS: dict[str, Callable[[Listing], bool]] = {
    "{}": lambda _: True,
    '{game: "Chess"}': lambda each: "Chess" in each.games,
    '{game: " chESS "}': lambda each: "Chess" in each.games,
    '{game: "shōgi"}': lambda each: "Shōgi" in each.games,
    '{game: "Poker"}': lambda _: False,
    '{category: "coaching"}': lambda each: "Coaching" in each.categories,
    '{tags: ["fast"]}': lambda each: "fast" in each.tags,
    '{tags: ["FAST", "Ünï"]}': lambda each: bool({"fast", "Ünï"} & set(each.tags)),
    "{tags: []}": lambda _: True,
    "{rank: [GOLD]}": lambda each: each.rank is Rank.GOLD,
    "{rank: [GOLD, BRONZE]}": lambda each: each.rank in (Rank.GOLD, Rank.BRONZE),
    "{rank: [BRONZE, SILVER, GOLD, PLATINUM]}": lambda _: True,
    "{type: MENTOR}": lambda each: each.type is AgentType.MENTOR,
    '{language: "ES-mx"}': lambda each: each.language == "es-MX",
    "{hasVoiceChat: true}": lambda each: each.has_voice_chat,
    "{hasVoiceChat: false}": lambda each: not each.has_voice_chat,
    "{hasMemory: true}": lambda each: each.has_memory,
    "{minPrice: 500}": lambda each: each.pricing.hourly.units >= 500,
    "{maxPrice: 500}": lambda each: each.pricing.hourly.units <= 500,
    "{minPrice: 300, maxPrice: 700}": lambda each: 300 <= each.pricing.hourly.units <= 700,
    "{minPrice: 700, maxPrice: 300}": lambda _: False,
    "{minRating: 3}": lambda each: (each.rating or 0) >= 3,
    "{minRating: 2.5}": lambda each: (each.rating or 0) >= 2.5,
    "{minRating: 0}": lambda _: True,
    f'{{ownerId: "{user_id("cleo")}"}}': lambda each: each.owner_id == user_id("cleo"),
    f'{{ownerId: "{missing(Kind.USER)}"}}': lambda _: False,
    '{game: "Go", category: "Story", tags: ["kind"]}': lambda each: (
        "Go" in each.games and "Story" in each.categories and "kind" in each.tags
    ),
    '{game: "Go", hasVoiceChat: true, maxPrice: 800, rank: [GOLD, BRONZE, SILVER]}': lambda each: (
        "Go" in each.games
        and each.has_voice_chat
        and each.pricing.hourly.units <= 800
        and each.rank is not Rank.PLATINUM
    ),
    '{category: "Story", minRating: 2, language: "en"}': lambda each: (
        "Story" in each.categories and (each.rating or 0) >= 2 and each.language == "en"
    ),
    "{game: null, rank: null, minPrice: null, ownerId: null}": lambda _: True,
}
SORTS: dict[str, Callable[[Listing], Any]] = {
    "RELEVANCE": lambda each: -each.total_hires,
    "POPULAR": lambda each: -each.total_hires,
    "NEWEST": lambda each: -each.created_at.timestamp(),
    "RATING": lambda each: (-(each.rating or 0), -each.rating_count),
    "PRICE_LOW": lambda each: each.pricing.hourly.units,
    "PRICE_HIGH": lambda each: -each.pricing.hourly.units,
}


@pytest.mark.parametrize("sort", SORTS)
async def test_listings_are_filtered_and_sorted(rig: Rig, sort: str) -> None:
    """Every filter in every order, in pages: all that match, once, in the order that was asked for."""
    await rig.put(USERS, *(a_user(name) for name in ("ada", "cleo")))
    hidden = [replace(_variety(number), status=status) for number, status in enumerate(
        (ListingStatus.PAUSED, ListingStatus.SUSPENDED, ListingStatus.UNDER_REVIEW, ListingStatus.UNPUBLISHED), 100
    )]  # fmt: skip
    await rig.put(LISTINGS, *OFFERED, *hidden)
    known = {each.id: each for each in OFFERED}
    page = (
        "listings(filter: %s, sort: %s, first: %d, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } }"
    )
    for text, matches in FILTERS.items():
        wanted = {each.id for each in OFFERED if matches(each)}
        for first in (5, 100):
            found, after = [], None
            for _ in range(40):
                query = f"query ($after: String) {{ {page % (text, sort, first)} }}"
                told = (await rig.guest.ask(query, after=after))["listings"]
                found += [node["id"] for node in told["nodes"]]
                after = told["pageInfo"]["endCursor"]
                if not told["pageInfo"]["hasNextPage"]:
                    break
            assert len(found) == len(set(found))
            assert set(found) == wanted, (text, first)
            places = [SORTS[sort](known[each]) for each in found]
            assert places == sorted(places), (text, first)


async def test_a_hundred_readers_at_once_get_the_same_pages(rig: Rig) -> None:
    """No reader's loader or plan shows in another's answer."""
    await rig.put(USERS, *(a_user(name) for name in ("ada", "cleo")))
    await rig.put(LISTINGS, *OFFERED)
    query = "query ($first: Int) { listings(first: $first, sort: NEWEST) { nodes { id } } }"
    whole = [node["id"] for node in (await rig.guest.ask(query, first=100))["listings"]["nodes"]]
    told = await asyncio.gather(*(rig.guest.ask(query, first=first) for first in range(1, 101)))
    for first, each in enumerate(told, 1):
        assert [node["id"] for node in each["listings"]["nodes"]] == whole[:first]


async def test_a_user_s_sessions_and_transactions_are_filtered(rig: Rig) -> None:
    shelf = next(each for each in SHELVES if each.field == "Viewer.sessions")
    person = await _furnish(rig, shelf, 3)
    ids, _, _ = await _page(person, shelf, 100, None)
    query = "query ($status: SessionStatus) { viewer { sessions(status: $status) { nodes { id status } } } }"
    for status, wanted in (("ACTIVE", ids), ("ENDED", []), (None, ids)):
        nodes = (await person.ask(query, status=status))["viewer"]["sessions"]["nodes"]
        assert [node["id"] for node in nodes] == wanted
    kinds = dict.fromkeys(TransactionType, 0) | {TransactionType.HIRE: 2, TransactionType.PAYOUT: 1}
    told = [_transaction(number) for number in range(3)]
    await rig.put(TRANSACTIONS, *told[:2], replace(told[2], type=TransactionType.PAYOUT))
    query = "query ($type: TransactionType) { viewer { transactions(type: $type) { nodes { type } } } }"
    for kind, count in kinds.items():
        nodes = (await person.ask(query, type=kind.value))["viewer"]["transactions"]["nodes"]
        assert nodes == [{"type": kind.value}] * count
    rig.now = NOW + 3 * HOUR
    statuses = (await person.ask("{ viewer { sessions { nodes { status } } } }"))["viewer"]["sessions"]["nodes"]
    assert statuses == [{"status": "ENDED"}] * 3  # over, and not settled yet: the filter follows the settlement


async def test_featured_listings_are_those_on_offer(rig: Rig) -> None:
    await rig.put(USERS, *(a_user(name) for name in ("ada", "cleo")))
    featured = [replace(each, featured=True) for each in OFFERED]
    await rig.put(LISTINGS, *featured[:12], replace(featured[12], status=ListingStatus.PAUSED), *OFFERED[13:])
    for first, count in ((None, 10), (3, 3), (100, 12)):
        found = await rig.guest.ask(
            "query ($first: Int) { featuredListings(first: $first) { id stats { totalHires } } }", first=first
        )
        hires = [each["stats"]["totalHires"] for each in found["featuredListings"]]
        assert len(hires) == count
        assert hires == sorted(hires, reverse=True)
    for first in (0, 101):
        error = await rig.guest.error("query ($first: Int) { featuredListings(first: $first) { id } }", first=first)
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "first"}
