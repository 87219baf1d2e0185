"""A market worth looking at, made once, by the same operations that users call."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TypeVar

from demo.agents import COACHING, EXPERIENCE, ROWS, TRAINED, Row
from demo.people import ADMIN, PEOPLE, Person
from demo.visits import RUNNING, VISITS, Running, Visit
from domain import users
from domain.agents import AgentType, Specialization
from domain.errors import BadCredentials, EmailTaken, SessionOver, Unavailable
from domain.filters import ListingFilter, ListingSort
from domain.ids import Kind, random_id
from domain.listings import PublishWish, listing_id
from domain.metering import MINUTE
from domain.money import Dof
from domain.pricing import HireUnit, SessionConfiguration
from domain.purchases import Rail
from domain.reviews import ReviewWish
from domain.revisions import AgentWish
from domain.sessions import Session
from domain.users import ProfileChange, Role, Viewer
from firestore.inbox import delivery_id
from firestore.orders import Told
from firestore.sessions import Hire, Usage
from firestore.store import Store
from functions.tasks.orders import read_delivery
from integrations.local.checkout import Cart, order_payload
from integrations.services import CheckoutGateway, IdentityGateway, SignIn
from integrations.shopify import read_order

T = TypeVar("T")

PASSWORD = "jiga-demo"  # noqa: S105 - printed at the start of a local store
ACCOUNTS = (
    ("ada@jiga.test", "creator"),
    ("max@jiga.test", "player with DOF"),
    ("mona@jiga.test", "moderator"),
    ("admin@jiga.test", "admin"),
)
SHOP = "demo.myshopify.com"
DAY = timedelta(days=1)
OPENED = 30 * DAY  # how long ago the first agents came; the visits lie within the two weeks before the seeding
SIGN_UPS_AT_ONCE = 3  # each hashes a password on one of two threads, and must answer within 2 s
PEOPLE_AT_ONCE = 6  # a local Firestore is busy with about as many
ATTEMPTS_MAX = 3  # of one person's doings on a machine that is too busy to answer; each has its own deadline of 2 s


async def seed(
    store: Store,
    identity: IdentityGateway,
    checkout: CheckoutGateway,
    clock: Callable[[], datetime],
    *,
    progress: Callable[[str], None],
) -> bool:
    """Fill an empty store; False where there is nothing to do.

    The admin's account comes first and its role last: an admin means that all is there, and an account without the role
    that an earlier process was cut off. Then everything is done again under the same ids and keys, which adds what is
    missing and doubles nothing.
    """
    if not await _is_due(store, identity):
        return False
    progress("demo: opening the market, once")
    admin_id = await _enter(store, identity, ADMIN, clock())
    (admin,) = await store.users.get_many([admin_id])
    assert admin is not None, "it has just been registered"
    market = _Market(store, checkout, admin.created_at, progress)
    taken = False
    try:
        await _each(PEOPLE, lambda person: market.settle_in(identity, person), SIGN_UPS_AT_ONCE)
    except* BadCredentials:
        taken = True
    if taken:
        progress("demo: left out, because one of its e-mails is somebody's account; an empty JIGA_DATA_DIR gets it")
        return False
    await _each(_by(ROWS, lambda row: row.creator), market.create, PEOPLE_AT_ONCE)
    await _each(_by(VISITS, lambda visit: visit.player), market.visit, PEOPLE_AT_ONCE)
    await _each(_by(RUNNING, lambda hire: hire.player), market.start, PEOPLE_AT_ONCE)
    await market.feature()
    await store.users.set_role(admin_id, Role.ADMIN, clock())
    progress(f"demo: {len(ROWS)} agents, {len(VISITS)} past hires, {len(RUNNING)} under way")
    return True


async def _is_due(store: Store, identity: IdentityGateway) -> bool:
    """Whether the store is empty, or a seeding was cut off in it."""
    try:
        signed = await identity.sign_in(ADMIN.email, PASSWORD)
    except BadCredentials:
        page = await store.listings.browse(ListingFilter(), ListingSort.NEWEST, 1, None)
        return not page.nodes
    (admin,) = await store.users.get_many([users.user_id(signed.uid)])
    return admin is None or admin.role is not Role.ADMIN


async def _enter(store: Store, identity: IdentityGateway, person: Person, at: datetime) -> str:
    """Sign up, or in where an earlier run has signed up; gives the user's id."""
    signed = await _sign(identity, person)
    proven = await identity.verify(signed.id_token, check_revoked=False)
    user = await store.users.register(
        proven.uid,
        proven.email,
        email_verified=proven.email_verified,
        display_name=person.name,
        timezone=person.timezone,
        now=at,
    )
    return user.id


async def _sign(identity: IdentityGateway, person: Person) -> SignIn:
    """Raises BadCredentials where somebody else has the account."""
    try:
        return await identity.sign_up(person.email, PASSWORD)
    except EmailTaken:
        return await identity.sign_in(person.email, PASSWORD)


class _Market:
    """The market while it fills. `base` is the moment at which its first seeding began: every past moment is told from
    there, so that another run repeats the same facts."""

    def __init__(
        self, store: Store, checkout: CheckoutGateway, base: datetime, progress: Callable[[str], None]
    ) -> None:
        self._store = store
        self._checkout = checkout
        self._base = base
        self._progress = progress
        self._ids: dict[str, str] = {}
        self._made = 0

    async def settle_in(self, identity: IdentityGateway, person: Person) -> None:
        """An account, a profile, a role, and the DOF that was bought."""
        at = self._base - OPENED
        user_id = self._ids[person.key] = await _enter(self._store, identity, person, at)
        await self._store.users.update_profile(user_id, ProfileChange(nationality=person.nationality), at)
        if person.role is not Role.USER:
            await self._store.users.set_role(user_id, person.role, at)
        for number, sku in enumerate(person.bought):
            await self._buy(person, sku, f"demo:{number}", self._base - (16 - number) * DAY)

    async def _buy(self, person: Person, sku: str, key: str, at: datetime) -> None:
        """Buy as everybody does: a wish, a page to pay on, and the order that a shop posts, kept and applied."""
        purchases, user_id = self._store.purchases, self._ids[person.key]
        wish = purchases.wish(user_id, Rail.SHOPIFY, sku, 1, key)
        page = await self._checkout.checkout(
            purchase_id=wish.id, user_id=user_id, email=person.email, sku=sku, quantity=1, price=wish.price
        )
        await purchases.begin(wish, page.url, at)
        cart = Cart(wish.id, user_id, person.email, sku, 1, wish.price)
        order = order_payload(cart, at=at, test=False)
        await self._store.inbox.record("shopify", "orders/paid", SHOP, order, at, outcome="accepted: demo")
        delivery = delivery_id("shopify", "orders/paid", SHOP, order)
        order_id = read_order("orders/paid", SHOP, order).order_id
        await self._store.orders.absorb(Told(delivery, order_id, wish.id, user_id, None), read_delivery, at + MINUTE)

    async def create(self, rows: list[Row]) -> None:
        """One creator's agents, each ranked, maybe given away, and published."""
        for row in rows:
            await self._offer(row, self._base - OPENED + ROWS.index(row) * timedelta(hours=9))
            self._made += 1
            if self._made % 10 == 0:
                self._progress(f"demo: {self._made} of {len(ROWS)} agents")

    async def _offer(self, row: Row, at: datetime) -> None:
        agents, creator, owner = self._store.agents, self._ids[row.creator], self._ids[row.given_to or row.creator]
        agent = await agents.create(creator, _agent_id(row.name), _wish(row), at)
        if agent.owner_id != owner:
            agent = await agents.transfer(creator, agent.id, owner, at + MINUTE)
        await agents.set_rank(agent.id, row.rank, at + 2 * MINUTE)
        offer = PublishWish(
            title=row.title,
            description=row.description,
            hourly=row.hourly,
            daily=row.hourly * 8,
            weekly=row.hourly * 35,
            tags=row.tags,
            categories=(row.category,) if row.category == COACHING else (row.category, COACHING),
        )
        await self._store.listings.publish(owner, agent.id, offer, at + 3 * MINUTE)

    async def visit(self, visits: list[Visit]) -> None:
        """One player's past hires, in the order in which they happened."""
        for visit in sorted(visits, key=lambda each: -each.days_ago):
            at = self._base - visit.days_ago * DAY
            hours = -(-visit.minutes // 60)
            session = await self._hire(visit.player, visit.agent, f"demo:{visit.days_ago}", hours, at)
            whole = visit.minutes == 60 * hours
            crashed = visit.rating is not None and visit.rating <= 2
            await self._use(
                session, at + MINUTE * (visit.minutes // 2), dof=0 if whole else visit.minutes, crashed=crashed
            )
            over = at + MINUTE * visit.minutes
            if whole:
                await self._store.sessions.settle_if_over(session.id, over)
            else:
                with suppress(SessionOver):
                    ended = over - timedelta(seconds=20)
                    await self._store.sessions.end(session.hirer_id, session.id, f"demo:{session.id}", ended)
            if visit.rating is not None:
                wish = ReviewWish(visit.rating, visit.comment, visit.title)
                await self._store.reviews.submit(session.hirer_id, session.id, wish, over + 5 * MINUTE)

    async def start(self, hires: list[Running]) -> None:
        """One player's hires that run now."""
        for hire in hires:
            at, key = self._base - MINUTE * hire.minutes_ago, f"demo:{hire.minutes_ago}"
            configuration = SessionConfiguration(voice_enabled=hire.voice)
            session = await self._hire(hire.player, hire.agent, key, hire.hours, at, configuration)
            await self._use(session, self._base - MINUTE, dof=0)

    async def _hire(
        self,
        player: str,
        agent: str,
        key: str,
        hours: int,
        at: datetime,
        configuration: SessionConfiguration | None = None,
    ) -> Session:
        offered, wanted = listing_id(_agent_id(agent)), configuration or SessionConfiguration()
        hire = Hire(offered, HireUnit.HOUR, hours, 1, wanted, f"{key}:{agent}")
        session, _ = await self._store.sessions.hire(self._ids[player], hire, at)
        return session

    async def _use(self, session: Session, at: datetime, *, dof: int, crashed: bool = False) -> None:
        """One report of a game client. A session may be over: a store can have gone on without the demo meanwhile."""
        digest = hashlib.sha256(session.id.encode()).digest()
        usage = Usage(
            session_id=session.id,
            sequence=1,
            dof=Dof(dof),
            interactions=20 + digest[0],
            latency_ms=180 + digest[1] * 2,
            crashed=crashed,
        )
        with suppress(SessionOver):
            await self._store.sessions.record_usage(session.hirer_id, usage, at)

    async def feature(self) -> None:
        """A moderator's handful."""
        mona = Viewer(self._ids["mona"], Role.MODERATOR)
        for row in ROWS:
            if "*" in row.look:
                await self._store.listings.feature(mona, listing_id(_agent_id(row.name)), True, self._base)


def _wish(row: Row) -> AgentWish:
    speaks = "v" in row.look
    return AgentWish(
        name=row.name,
        type=row.type,
        provider=row.provider,
        nationality=row.nationality,
        language=row.language,
        voice_id=f"{row.language}-{row.name.split()[0].lower()}" if speaks else None,
        has_voice_chat=speaks,
        has_commentator="c" in row.look,
        has_memory="m" in row.look,
        toolkit=("web_search", "match_history", *(("voice_coach",) if speaks else ())),
        specialization=Specialization(
            (row.game,), row.focus, TRAINED if row.type is AgentType.SPECIALIST else EXPERIENCE
        ),
        progression_enabled=True,
    )


def _agent_id(name: str) -> str:
    """An agent's id follows from its name, so that a seeding that was cut off finds it again."""
    return random_id(Kind.AGENT, hashlib.sha256(f"demo:{name}".encode()).digest())


def _by(rows: Iterable[T], person: Callable[[T], str]) -> list[list[T]]:
    """The rows of each person, in the order of the rows."""
    found: dict[str, list[T]] = {}
    for row in rows:
        found.setdefault(person(row), []).append(row)
    return list(found.values())


async def _each(items: Iterable[T], act: Callable[[T], Awaitable[None]], at_once: int) -> None:
    """Do it for each, so many at once. Doing it again does no harm, so a busy machine is asked again."""
    places = asyncio.Semaphore(at_once)

    async def take(item: T) -> None:
        async with places:
            for attempt in range(1, ATTEMPTS_MAX + 1):
                try:
                    await act(item)
                except Unavailable:
                    if attempt == ATTEMPTS_MAX:
                        raise
                else:
                    break

    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(take(item))
