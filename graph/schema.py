"""The roof: every root field is one line, a resolver and a permission."""

from __future__ import annotations

import strawberry
from strawberry.schema.config import StrawberryConfig

from domain.keys import KeyScope
from domain.money import Dof
from domain.policy import ROWS_MAX
from graph.connection import FIRST_MAX
from graph.errors import HANDLERS
from graph.fields import mutation, open_to_keys, query, require_gates, subscription, told
from graph.permissions import (
    ADMIN,
    ANYONE,
    MODERATOR,
    SIGNED_IN,
    AdminOnly,
    Anyone,
    Keys,
    ModeratorOnly,
    SignedIn,
    Standing,
)
from graph.scalars import DOF
from graph.sizes import at_most
from graph.types.users import Viewer
from graph.types.wallets import Wallet
from resolvers import (
    accounts,
    acts,
    agents,
    analytics,
    appeals,
    badges,
    discovery,
    endpoints,
    events,
    images,
    journal,
    keys,
    legal,
    listings,
    nodes,
    notifications,
    orders,
    payouts,
    platform,
    privacy,
    receipts,
    reports,
    reviews,
    search,
    sessions,
    sign_ins,
    users,
    wallets,
)

IN_THE_COMMIT, NOT_ASKED = Standing.IN_THE_COMMIT, Standing.NOT_ASKED

# A field that is named like its resolvers' module comes last of that module's: from there on the name is the field.


@strawberry.type
class Query:
    node = query(nodes.node, ANYONE, KeyScope.READ)
    nodes = query(nodes.nodes, ANYONE, KeyScope.READ)
    viewer = query(users.viewer, ANYONE, KeyScope.READ)
    user = query(users.user, ANYONE, KeyScope.READ)
    agent = query(agents.agent, ANYONE, KeyScope.READ)
    listing = query(listings.listing, ANYONE, KeyScope.READ)
    featured_listings = query(listings.featured_listings, ANYONE, KeyScope.READ)
    listings = query(listings.listings, ANYONE, KeyScope.READ)
    search_listings = query(search.search_listings, ANYONE, KeyScope.READ)
    categories = query(search.categories, ANYONE, KeyScope.READ, at_most(search.CATEGORIES_MAX, reads=FIRST_MAX))
    recommended_listings = query(discovery.recommended_listings, ANYONE)
    market_insights = query(discovery.market_insights, ANYONE, KeyScope.READ)
    session = query(sessions.session, ANYONE, KeyScope.READ)
    transaction = query(wallets.transaction, ANYONE, KeyScope.WALLET_READ)
    legal_documents = query(legal.legal_documents, ANYONE, KeyScope.READ, at_most(ROWS_MAX, reads=0))
    dof_packages = query(wallets.dof_packages, ANYONE, KeyScope.READ, at_most(ROWS_MAX, reads=0))
    badges = query(badges.badges, ANYONE, KeyScope.READ)
    validate_agent_configuration = query(agents.validate_agent_configuration, ANYONE, KeyScope.READ)
    quote_hire = query(sessions.quote_hire, ANYONE, KeyScope.READ)
    wallet_statement = query(wallets.wallet_statement, SIGNED_IN, KeyScope.WALLET_READ)
    ledger_digest = query(receipts.ledger_digest, ANYONE, KeyScope.READ)
    export_receipts = query(receipts.export_receipts, SIGNED_IN, KeyScope.WALLET_READ)
    review_queue = query(orders.review_queue, ADMIN)
    dead_letters = query(orders.dead_letters, ADMIN)
    agent_analytics = query(analytics.agent_analytics, SIGNED_IN)
    earnings_analytics = query(analytics.earnings_analytics, SIGNED_IN)
    usage_analytics = query(analytics.usage_analytics, SIGNED_IN)
    platform_analytics = query(platform.platform_analytics, ADMIN)
    acts = query(acts.acts, ADMIN)
    ledger_entries = query(journal.ledger_entries, ADMIN)
    moderated_listings = query(appeals.moderated_listings, MODERATOR)
    appeals = query(appeals.appeals, MODERATOR)
    reports = query(reports.reports, MODERATOR)
    users = query(accounts.users, ADMIN)


@strawberry.type
class Mutation:
    sign_up = mutation(users.sign_up, ANYONE)
    sign_in = mutation(users.sign_in, ANYONE)
    refresh_token = mutation(users.refresh_token, ANYONE)
    sign_out = mutation(users.sign_out, SIGNED_IN, standing=NOT_ASKED)
    update_profile = mutation(users.update_profile, SIGNED_IN)
    update_preferences = mutation(users.update_preferences, SIGNED_IN)
    create_api_key = mutation(keys.create_api_key, SIGNED_IN, standing=IN_THE_COMMIT)
    revoke_api_key = mutation(keys.revoke_api_key, SIGNED_IN, standing=NOT_ASKED)
    export_my_data = mutation(privacy.export_my_data, SIGNED_IN, standing=NOT_ASKED)
    delete_my_account = mutation(privacy.delete_my_account, SIGNED_IN, standing=NOT_ASKED)
    revoke_sign_in = mutation(sign_ins.revoke_sign_in, SIGNED_IN, standing=NOT_ASKED)
    accept_legal = mutation(legal.accept_legal, SIGNED_IN, standing=NOT_ASKED)

    create_agent = mutation(agents.create_agent, SIGNED_IN, KeyScope.AGENTS, standing=IN_THE_COMMIT)
    update_agent = mutation(agents.update_agent, SIGNED_IN, KeyScope.AGENTS, standing=IN_THE_COMMIT)
    update_agent_configuration = mutation(
        agents.update_agent_configuration, SIGNED_IN, KeyScope.AGENTS, standing=IN_THE_COMMIT
    )
    restore_agent_version = mutation(agents.restore_agent_version, SIGNED_IN, KeyScope.AGENTS, standing=IN_THE_COMMIT)
    delete_agent = mutation(agents.delete_agent, SIGNED_IN, KeyScope.AGENTS)
    transfer_agent = mutation(agents.transfer_agent, SIGNED_IN, standing=IN_THE_COMMIT)
    create_image_upload = mutation(images.create_image_upload, SIGNED_IN, standing=IN_THE_COMMIT)
    complete_image_upload = mutation(images.complete_image_upload, SIGNED_IN, standing=IN_THE_COMMIT)

    publish_agent = mutation(listings.publish_agent, SIGNED_IN, KeyScope.LISTINGS, standing=IN_THE_COMMIT)
    unpublish_agent = mutation(listings.unpublish_agent, SIGNED_IN, KeyScope.LISTINGS)
    update_listing = mutation(listings.update_listing, SIGNED_IN, KeyScope.LISTINGS, standing=IN_THE_COMMIT)
    pause_listing = mutation(listings.pause_listing, SIGNED_IN, KeyScope.LISTINGS, standing=IN_THE_COMMIT)
    resume_listing = mutation(listings.resume_listing, SIGNED_IN, KeyScope.LISTINGS, standing=IN_THE_COMMIT)

    hire_agent = mutation(sessions.hire_agent, SIGNED_IN, KeyScope.SPEND, standing=IN_THE_COMMIT)
    start_session = mutation(sessions.start_session, SIGNED_IN, KeyScope.SPEND, standing=IN_THE_COMMIT)
    extend_session = mutation(sessions.extend_session, SIGNED_IN, KeyScope.SPEND, standing=IN_THE_COMMIT)
    record_usage = mutation(sessions.record_usage, SIGNED_IN, KeyScope.USAGE, standing=NOT_ASKED)
    end_session = mutation(sessions.end_session, SIGNED_IN, KeyScope.SESSIONS, standing=NOT_ASKED)
    submit_review = mutation(reviews.submit_review, SIGNED_IN, standing=IN_THE_COMMIT)
    update_review = mutation(reviews.update_review, SIGNED_IN, standing=IN_THE_COMMIT)
    vote_review = mutation(reviews.vote_review, SIGNED_IN, standing=IN_THE_COMMIT)

    purchase_dof = mutation(wallets.purchase_dof, SIGNED_IN, standing=IN_THE_COMMIT)
    transfer_dof = mutation(wallets.transfer_dof, SIGNED_IN, KeyScope.SPEND, standing=IN_THE_COMMIT)
    connect_payouts = mutation(payouts.connect_payouts, SIGNED_IN)
    request_payout = mutation(payouts.request_payout, SIGNED_IN, standing=IN_THE_COMMIT)

    mark_notifications_read = mutation(notifications.mark_notifications_read, SIGNED_IN, standing=NOT_ASKED)
    register_device = mutation(notifications.register_device, SIGNED_IN)
    create_webhook_endpoint = mutation(endpoints.create_webhook_endpoint, SIGNED_IN)
    update_webhook_endpoint = mutation(endpoints.update_webhook_endpoint, SIGNED_IN)
    delete_webhook_endpoint = mutation(endpoints.delete_webhook_endpoint, SIGNED_IN)
    replay_webhook_delivery = mutation(endpoints.replay_webhook_delivery, SIGNED_IN)

    report = mutation(reports.report, SIGNED_IN, standing=IN_THE_COMMIT)
    appeal_listing = mutation(appeals.appeal_listing, SIGNED_IN, standing=IN_THE_COMMIT)

    moderate_listing = mutation(listings.moderate_listing, MODERATOR)
    feature_listing = mutation(listings.feature_listing, MODERATOR)
    moderate_review = mutation(reviews.moderate_review, MODERATOR)
    decide_appeal = mutation(appeals.decide_appeal, MODERATOR)
    resolve_report = mutation(reports.resolve_report, MODERATOR)
    suspend_user = mutation(accounts.suspend_user, MODERATOR)
    reinstate_user = mutation(accounts.reinstate_user, MODERATOR)
    set_role = mutation(accounts.set_role, ADMIN)
    award_badge = mutation(badges.award_badge, MODERATOR)
    adjust_wallet = mutation(wallets.adjust_wallet, ADMIN)
    refund_session = mutation(sessions.refund_session, ADMIN)
    approve_order = mutation(orders.approve_order, ADMIN)
    reject_order = mutation(orders.reject_order, ADMIN)
    retry_dead_letter = mutation(orders.retry_dead_letter, ADMIN)


@strawberry.type
class Subscription:
    session_updated = subscription(events.session_updated, SIGNED_IN, KeyScope.READ)
    wallet_updated = subscription(events.wallet_updated, SIGNED_IN, KeyScope.WALLET_READ)
    notification_received = subscription(notifications.notification_received, SIGNED_IN)
    events = subscription(events.events, ANYONE, KeyScope.READ)


# What of the viewer an API key may read, by the scope that it needs; whatever is not named is for people alone.
VIEWER = {
    "user": KeyScope.READ,
    "agents": KeyScope.READ,
    "sessions": KeyScope.READ,
    "wallet": KeyScope.WALLET_READ,
    "transactions": KeyScope.WALLET_READ,
    "payouts": KeyScope.WALLET_READ,
}

# And of the wallet, which mutations answer with too: a program that spends sees what it can spend, and not the books.
WALLET = dict.fromkeys(("available", "held", "debt", "payable", "earned"), KeyScope.WALLET_READ)
WALLET_ALSO = {"available": KeyScope.SPEND, "held": KeyScope.SPEND}


def make_schema() -> strawberry.Schema:
    """The schema. Raises TypeError for a root field without a permission."""
    require_gates(Query, Mutation, Subscription)
    open_to_keys(Viewer, VIEWER)
    open_to_keys(Wallet, WALLET, WALLET_ALSO)
    return strawberry.Schema(
        Query,
        Mutation,
        Subscription,
        config=StrawberryConfig(scalar_map={Dof: DOF}),
        exception_handlers=HANDLERS,
    )


def root_fields(schema: strawberry.Schema) -> frozenset[str]:
    """The names of all root fields."""
    roots = (schema._schema.query_type, schema._schema.mutation_type, schema._schema.subscription_type)
    return frozenset(name for root in roots if root is not None for name in root.fields)


SDL_HEADER = "# Generated from graph/schema.py by `make schema`: do not edit.\n\n"


def sdl() -> str:
    """The schema as text: the shape, and who may call what."""
    text = make_schema().as_str()
    gates = {"anyone": Anyone, "signedIn": SignedIn, "moderator": ModeratorOnly, "admin": AdminOnly, "keys": Keys}
    for name, directive in gates.items():  # Strawberry prints no directive's description
        begin = f"directive @{name}"
        text = text.replace(begin, f'"""{told(directive)}"""\n{begin}', 1)
    return SDL_HEADER + text + "\n"
