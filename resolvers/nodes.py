"""Objects by id: what is missing and what the viewer may not know of look the same (ruling 10)."""

from __future__ import annotations

import asyncio

import strawberry

from domain import agents, listings
from domain.errors import BadInput
from domain.ids import Kind, kind_of
from domain.keys import KeyScope
from domain.notifications import NotificationBox
from domain.sessions import Session as SessionRecord
from domain.users import Viewer as ViewerRecord
from firestore.collections import (
    AGENTS,
    LISTINGS,
    NOTIFICATION_BOXES,
    NOTIFICATIONS,
    REVIEWS,
    SESSIONS,
    TRANSACTIONS,
    USERS,
)
from graph.context import Context, Info
from graph.types.agents import Agent
from graph.types.badges import Badge
from graph.types.listings import Listing
from graph.types.nodes import Node
from graph.types.notifications import Notification
from graph.types.reviews import Review
from graph.types.sessions import Session
from graph.types.users import User
from graph.types.wallets import Transaction

NODES_MAX = 100  # as many as a page


async def node(info: Info, id: strawberry.ID) -> Node | None:
    """Any object by its id. Null for an id that is unknown or not for the viewer's eyes: the two look the same."""
    return await find(info.context, id)


async def nodes(info: Info, ids: list[strawberry.ID]) -> list[Node | None]:
    """Objects by their ids, at most 100, in the order of the ids; null for one that is missing or hidden."""
    if len(ids) > NODES_MAX:
        raise BadInput(f"Ask for at most {NODES_MAX} ids at once.", field="ids")
    return list(await asyncio.gather(*(find(info.context, each) for each in ids)))


async def find(context: Context, node_id: str) -> Node | None:
    """The object of an id, if the viewer may see it."""
    match kind_of(node_id):
        case Kind.USER:
            return await user(context, node_id)
        case Kind.AGENT:
            return await agent(context, node_id)
        case Kind.LISTING:
            return await listing(context, node_id)
        case Kind.SESSION:
            return await session(context, node_id)
        case Kind.TRANSACTION:
            return await transaction(context, node_id)
        case Kind.REVIEW:
            return await review(context, node_id)
        case Kind.BADGE:
            return badge(context, node_id)
        case Kind.NOTIFICATION:
            return await notification(context, node_id)
    return None


def badge(context: Context, badge_id: str) -> Badge | None:
    found = (each for each in context.desk.policy.progression.badges if each.id == badge_id)
    return next((Badge.of(each) for each in found), None)


async def user(context: Context, user_id: str) -> User | None:
    record = await context.loaders.one(USERS, user_id) if kind_of(user_id) is Kind.USER else None
    return None if record is None else User.of(record)


async def agent(context: Context, agent_id: str) -> Agent | None:
    record = await context.loaders.one(AGENTS, agent_id) if kind_of(agent_id) is Kind.AGENT else None
    return Agent.of(record) if record and await context.sees(record, agents.visible_to) else None


async def listing(context: Context, listing_id: str) -> Listing | None:
    record = await context.loaders.one(LISTINGS, listing_id) if kind_of(listing_id) is Kind.LISTING else None
    return Listing.of(record) if record and await context.sees(record, listings.visible_to) else None


async def session(context: Context, session_id: str) -> Session | None:
    record = await session_record(context, session_id)
    return None if record is None else Session.of(record, context)


async def session_record(context: Context, session_id: str) -> SessionRecord | None:
    """The session, for its hirer, its owner and moderators."""
    if context.user_id is None or kind_of(session_id) is not Kind.SESSION:
        return None
    record = await context.loaders.one(SESSIONS, session_id)
    return record if record and await context.sees(record, is_party) else None


async def transaction(context: Context, transaction_id: str) -> Transaction | None:
    """The transaction, for its user alone; a key needs the wallet's scope, by whatever field it asks."""
    if not context.may(KeyScope.WALLET_READ):
        return None
    if context.user_id is None or kind_of(transaction_id) is not Kind.TRANSACTION:
        return None
    record = await context.loaders.one(TRANSACTIONS, transaction_id)
    return Transaction.of(record) if record and record.user_id == context.user_id else None


async def review(context: Context, review_id: str) -> Review | None:
    """The review, for whoever sees its listing."""
    record = await context.loaders.one(REVIEWS, review_id) if kind_of(review_id) is Kind.REVIEW else None
    if record is None:
        return None
    of = await context.loaders.one(LISTINGS, record.listing_id)
    allowed = context.user_id == record.reviewer_id or await context.sees(of, listings.visible_to)
    return Review.of(record) if allowed else None


async def notification(context: Context, notification_id: str) -> Notification | None:
    """The notification, for its user alone, where it is one of the app."""
    if context.user_id is None or context.key is not None:
        return None
    record = await context.loaders.one(NOTIFICATIONS, notification_id)
    if record is None or record.user_id != context.user_id or not record.sequence:
        return None
    return Notification.of(record, await box(context))


async def box(context: Context) -> NotificationBox:
    """How far the viewer's notifications have counted and are read; who was never told of anything is at the start."""
    user_id = context.signed_in
    return await context.loaders.one(NOTIFICATION_BOXES, user_id) or NotificationBox(user_id)


def is_party(session: SessionRecord, viewer: ViewerRecord | None) -> bool:
    """Whether the session is the viewer's to read: its hirer's, its owner's, and by their office the moderators'."""
    return viewer is not None and (viewer.id in (session.hirer_id, session.owner_id) or viewer.is_moderator)
