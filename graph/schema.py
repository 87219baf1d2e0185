"""The roof: every root field is one line, a resolver and a permission."""

from __future__ import annotations

import strawberry
from strawberry.schema.config import StrawberryConfig

from domain.money import Dof
from graph.errors import HANDLERS
from graph.fields import mutation, query, require_gates, subscription
from graph.permissions import ADMIN, ANYONE, MODERATOR, SIGNED_IN
from graph.scalars import DOF
from resolvers import (
    agents,
    events,
    listings,
    nodes,
    orders,
    payouts,
    receipts,
    reviews,
    search,
    sessions,
    users,
    wallets,
)

# A field that is named like its resolvers' module comes last of that module's: from there on the name is the field.


@strawberry.type
class Query:
    node = query(nodes.node, ANYONE)
    nodes = query(nodes.nodes, ANYONE)
    viewer = query(users.viewer, ANYONE)
    user = query(users.user, ANYONE)
    agent = query(agents.agent, ANYONE)
    listing = query(listings.listing, ANYONE)
    featured_listings = query(listings.featured_listings, ANYONE)
    listings = query(listings.listings, ANYONE)
    search_listings = query(search.search_listings, ANYONE)
    categories = query(search.categories, ANYONE)
    session = query(sessions.session, ANYONE)
    transaction = query(wallets.transaction, ANYONE)
    dof_packages = query(wallets.dof_packages, ANYONE)
    validate_agent_configuration = query(agents.validate_agent_configuration, ANYONE)
    quote_hire = query(sessions.quote_hire, ANYONE)
    wallet_statement = query(wallets.wallet_statement, SIGNED_IN)
    ledger_digest = query(receipts.ledger_digest, ANYONE)
    export_receipts = query(receipts.export_receipts, SIGNED_IN)
    review_queue = query(orders.review_queue, ADMIN)
    dead_letters = query(orders.dead_letters, ADMIN)


@strawberry.type
class Mutation:
    sign_up = mutation(users.sign_up, ANYONE)
    sign_in = mutation(users.sign_in, ANYONE)
    refresh_token = mutation(users.refresh_token, ANYONE)
    sign_out = mutation(users.sign_out, SIGNED_IN)
    update_profile = mutation(users.update_profile, SIGNED_IN)
    update_preferences = mutation(users.update_preferences, SIGNED_IN)

    create_agent = mutation(agents.create_agent, SIGNED_IN)
    update_agent = mutation(agents.update_agent, SIGNED_IN)
    update_agent_configuration = mutation(agents.update_agent_configuration, SIGNED_IN)
    restore_agent_version = mutation(agents.restore_agent_version, SIGNED_IN)
    delete_agent = mutation(agents.delete_agent, SIGNED_IN)
    transfer_agent = mutation(agents.transfer_agent, SIGNED_IN)

    publish_agent = mutation(listings.publish_agent, SIGNED_IN)
    unpublish_agent = mutation(listings.unpublish_agent, SIGNED_IN)
    update_listing = mutation(listings.update_listing, SIGNED_IN)
    pause_listing = mutation(listings.pause_listing, SIGNED_IN)
    resume_listing = mutation(listings.resume_listing, SIGNED_IN)

    hire_agent = mutation(sessions.hire_agent, SIGNED_IN)
    start_session = mutation(sessions.start_session, SIGNED_IN)
    extend_session = mutation(sessions.extend_session, SIGNED_IN)
    record_usage = mutation(sessions.record_usage, SIGNED_IN)
    end_session = mutation(sessions.end_session, SIGNED_IN)
    submit_review = mutation(reviews.submit_review, SIGNED_IN)
    update_review = mutation(reviews.update_review, SIGNED_IN)

    purchase_dof = mutation(wallets.purchase_dof, SIGNED_IN)
    transfer_dof = mutation(wallets.transfer_dof, SIGNED_IN)
    connect_payouts = mutation(payouts.connect_payouts, SIGNED_IN)
    request_payout = mutation(payouts.request_payout, SIGNED_IN)

    moderate_listing = mutation(listings.moderate_listing, MODERATOR)
    feature_listing = mutation(listings.feature_listing, MODERATOR)
    adjust_wallet = mutation(wallets.adjust_wallet, ADMIN)
    refund_session = mutation(sessions.refund_session, ADMIN)
    approve_order = mutation(orders.approve_order, ADMIN)
    reject_order = mutation(orders.reject_order, ADMIN)
    retry_dead_letter = mutation(orders.retry_dead_letter, ADMIN)


@strawberry.type
class Subscription:
    session_updated = subscription(events.session_updated, SIGNED_IN)
    wallet_updated = subscription(events.wallet_updated, SIGNED_IN)
    events = subscription(events.events, ANYONE)


def make_schema() -> strawberry.Schema:
    """The schema. Raises TypeError for a root field without a permission."""
    require_gates(Query, Mutation, Subscription)
    return strawberry.Schema(
        Query,
        Mutation,
        Subscription,
        config=StrawberryConfig(scalar_map={Dof: DOF}),
        exception_handlers=HANDLERS,
    )


SDL_HEADER = "# Generated from graph/schema.py by `make schema`: do not edit.\n\n"


def sdl() -> str:
    """The schema as text: the shape, and who may call what."""
    return SDL_HEADER + make_schema().as_str() + "\n"
