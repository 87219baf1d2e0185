"""Live push: topics, a session's state, one's own wallet."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

import strawberry

from domain import agents, listings
from domain.errors import BadInput, NotFound
from domain.events import Event, agent_topic, listing_topic, wallet_topic
from domain.ids import Kind, is_id
from firestore.collections import AGENTS, LISTINGS, SESSIONS, WALLETS
from firestore.feed import Mark, merge
from graph.connection import scope_of
from graph.context import Context, Info
from graph.types.events import EventEnvelope
from graph.types.sessions import Session
from graph.types.wallets import Wallet
from resolvers import nodes

TOPICS_MAX = 20  # one screen's worth; a client with more opens another subscription


@dataclass(frozen=True, slots=True)
class _Told:
    """An event, and its topic as the subscriber spelled it."""

    topic: str
    event: Event


async def events(info: Info, topics: list[str], after: str | None = None) -> AsyncGenerator[EventEnvelope, None]:
    """The topics' events, each from where the cursor says the subscriber left it, or from now on."""
    context = info.context
    wanted = list(dict.fromkeys(topics))
    if not 1 <= len(wanted) <= TOPICS_MAX:
        raise BadInput(f"Subscribe to 1 to {TOPICS_MAX} topics at once.", field="topics")
    scope = scope_of("events", context.user_id, sorted(wanted))
    marks = _open(context, scope, after)
    sources = [await _follow(context, topic, marks.get(topic)) for topic in wanted]
    async with aclosing(
        merge([_spelled(topic, source) for topic, source in zip(wanted, sources, strict=True)])
    ) as told:
        async for each in told:
            marks[each.topic] = Mark(each.event.sequence, each.event.at)
            yield EventEnvelope.of(each.event, each.topic, _seal(context, scope, marks))


async def session_updated(info: Info, id: strawberry.ID) -> AsyncGenerator[Session, None]:
    """The session as it is now, and again at each change and each full minute, until it has ended."""
    context = info.context
    record = await nodes.session_record(context, id)
    if record is None:
        raise NotFound("session")
    yield Session.of(record, context)
    async with aclosing(context.store.feed.follow_session(record, None)) as changes:
        async for _ in changes:
            moment = context.fresh()
            current = await moment.loaders.known(SESSIONS, record.id)
            yield Session.of(current, moment)
            if current.settled:
                return


async def wallet_updated(info: Info) -> AsyncGenerator[Wallet, None]:
    """The viewer's wallet as it is now, and again at each change of it or of what it has earned."""
    context = info.context
    user_id = context.signed_in
    feed = context.store.feed
    sources = [feed.document(WALLETS.at(user_id)), feed.newest(context.store.wallets.newest_accrual(user_id))]
    shown: tuple[object, ...] | None = None
    async with aclosing(merge(sources)) as signs:
        async for _ in signs:
            (record,) = await context.store.wallets.get_many([user_id])
            earned = await context.store.wallets.earned(user_id)
            if (record, earned) != shown:
                shown = (record, earned)
                yield Wallet.of(record)


async def _spelled(topic: str, source: AsyncGenerator[Event, None]) -> AsyncGenerator[_Told, None]:
    async with aclosing(source) as items:
        async for event in items:
            yield _Told(topic, event)


async def _follow(context: Context, topic: str, mark: Mark | None) -> AsyncGenerator[Event, None]:
    """Open one topic. Raises BadInput for no topic, NotFound for what the viewer may not know of."""
    feed = context.store.feed
    kind, _, subject = topic.partition(":")
    now = context.desk.clock()
    if kind == "session":
        record = await nodes.session_record(context, subject)
        if record is None:
            raise NotFound("session")
        return feed.follow_session(record, mark)
    if topic in ("wallet", "transactions"):
        user_id = context.signed_in
        if mark is None:
            (wallet,) = await context.store.wallets.get_many([user_id])
            mark = Mark(wallet.sequence, now)
        return feed.follow(wallet_topic(user_id), mark)
    if kind == "listing":
        listing = await context.loaders.one(LISTINGS, subject) if is_id(subject, Kind.LISTING) else None
        if not await context.sees(listing, listings.visible_to):
            raise NotFound("listing")
        return feed.follow(
            listing_topic(subject), mark or Mark(await context.store.topics.head(listing_topic(subject)), now)
        )
    if kind == "agent":
        agent = await context.loaders.one(AGENTS, subject) if is_id(subject, Kind.AGENT) else None
        if not await context.sees(agent, agents.visible_to):
            raise NotFound("agent")
        return feed.follow(
            agent_topic(subject), mark or Mark(await context.store.topics.head(agent_topic(subject)), now)
        )
    raise BadInput("A topic is agent:ID, listing:ID, session:ID, wallet or transactions.", field="topics")


def _seal(context: Context, scope: str, marks: dict[str, Mark]) -> str:
    position = [[topic, mark.sequence, mark.at.isoformat()] for topic, mark in sorted(marks.items())]
    return context.desk.cursors.seal(scope, position)


def _open(context: Context, scope: str, after: str | None) -> dict[str, Mark]:
    if after is None:
        return {}
    return {
        str(topic): Mark(int(sequence), datetime.fromisoformat(at).astimezone(UTC))
        for topic, sequence, at in context.desk.cursors.open(scope, after)
    }
