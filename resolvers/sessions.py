"""Hiring, using and ending."""

from __future__ import annotations

from typing import Annotated

import strawberry

from domain import revenue, texts
from domain.errors import BadInput
from domain.money import DOF_MAX, ZERO, Dof
from domain.pricing import HireUnit
from domain.pricing import SessionConfiguration as Configuration
from domain.sessions import SessionType
from domain.users import Role
from firestore.sessions import Hire, Start, Usage
from firestore.wallets import NOTE_CHARACTERS_MAX
from graph.context import Context, Info
from graph.errors import (
    Conflict,
    IdempotencyConflict,
    InsufficientDof,
    NotAvailable,
    NotFound,
    NotHirable,
    PriceChanged,
    SelfDealing,
    SessionOver,
    SpendCapReached,
    TrialUsed,
    WalletFrozen,
)
from graph.types.sessions import Session
from graph.types.users import wallet_of
from graph.types.wallets import Distribution, Wallet
from resolvers import nodes


@strawberry.input
class SessionConfigurationInput:
    high_speed_vision: bool | None = None
    voice_enabled: bool | None = None
    commentator: bool | None = None

    def read(self) -> Configuration:
        return Configuration(bool(self.high_speed_vision), bool(self.voice_enabled), bool(self.commentator))


@strawberry.input
class QuoteHireInput:
    listing_id: strawberry.ID
    unit: HireUnit
    quantity: int
    configuration: SessionConfigurationInput | None = None


@strawberry.input
class HireAgentInput:
    listing_id: strawberry.ID
    unit: HireUnit
    quantity: int
    pricing_version: int
    idempotency_key: str
    configuration: SessionConfigurationInput | None = None


@strawberry.input
class StartSessionInput:
    agent_id: strawberry.ID
    type: SessionType
    idempotency_key: str
    configuration: SessionConfigurationInput | None = None
    minutes: int | None = strawberry.field(default=None, description="Of an OWNED session; 60 where it is not said.")
    usage_allowance: Dof | None = strawberry.field(
        default=None, description="What an OWNED session holds for metered usage, beside its surcharges."
    )


@strawberry.input(description="At the session's own prices, whatever the listing asks today.")
class ExtendSessionInput:
    session_id: strawberry.ID
    unit: HireUnit
    quantity: int
    idempotency_key: str


@strawberry.input(description="`sequence` is the client's own count: repeating and reordering do no harm.")
class RecordUsageInput:
    session_id: strawberry.ID
    sequence: int
    dof: Dof
    interactions: int | None = None
    latency_ms: int | None = None
    crashed: bool | None = None


@strawberry.input
class EndSessionInput:
    session_id: strawberry.ID
    idempotency_key: str


@strawberry.input(description="Of what a settled session cost; refunds add up to it at most.")
class RefundSessionInput:
    session_id: strawberry.ID
    amount: Dof
    reason: str
    idempotency_key: str


@strawberry.type(description="What a hire would cost: `total` is held, and is the most that it can cost.")
class Quote:
    unit: HireUnit
    quantity: int
    total: Dof
    per_minute: Dof
    distribution: Distribution
    pricing_version: int
    affordable: bool | None


@strawberry.type
class HireAgentPayload:
    session: Session
    wallet: Wallet


@strawberry.type
class StartSessionPayload:
    session: Session


@strawberry.type
class ExtendSessionPayload:
    session: Session
    wallet: Wallet


@strawberry.type
class RecordUsagePayload:
    session: Session


@strawberry.type
class EndSessionPayload:
    session: Session
    wallet: Wallet = strawberry.field(description="The viewer's own.")


@strawberry.type
class RefundSessionPayload:
    session: Session
    refunded: Dof = strawberry.field(description="All that was refunded of the session so far.")


HireAgentResult = Annotated[
    HireAgentPayload
    | NotFound
    | NotHirable
    | NotAvailable
    | PriceChanged
    | SelfDealing
    | InsufficientDof
    | SpendCapReached
    | WalletFrozen
    | IdempotencyConflict,
    strawberry.union("HireAgentResult"),
]
StartSessionResult = Annotated[
    StartSessionPayload
    | NotFound
    | NotHirable
    | NotAvailable
    | SelfDealing
    | TrialUsed
    | InsufficientDof
    | SpendCapReached
    | WalletFrozen
    | IdempotencyConflict,
    strawberry.union("StartSessionResult"),
]
ExtendSessionResult = Annotated[
    ExtendSessionPayload
    | NotFound
    | SessionOver
    | InsufficientDof
    | SpendCapReached
    | WalletFrozen
    | IdempotencyConflict,
    strawberry.union("ExtendSessionResult"),
]
RecordUsageResult = Annotated[
    RecordUsagePayload | NotFound | SessionOver | IdempotencyConflict, strawberry.union("RecordUsageResult")
]
EndSessionResult = Annotated[
    EndSessionPayload | NotFound | SessionOver | IdempotencyConflict, strawberry.union("EndSessionResult")
]


RefundSessionResult = Annotated[
    RefundSessionPayload | NotFound | Conflict | IdempotencyConflict, strawberry.union("RefundSessionResult")
]


async def session(info: Info, id: strawberry.ID) -> Session | None:
    """A session, for its hirer, its owner and moderators; null for everybody else. Its meter is computed at the moment
    of the answer.
    """
    return await nodes.session(info.context, id)


async def quote_hire(info: Info, input: QuoteHireInput) -> Quote:
    """What a hire would cost now, in whole DOF, and who would get it. Send `pricingVersion` on to hireAgent."""
    context = info.context
    quoted = await context.store.sessions.quote(
        context.user_id, input.listing_id, input.unit, input.quantity, _configuration(input.configuration)
    )
    shares = revenue.distribute(quoted.quote.total, context.desk.policy.shares)
    return Quote(
        unit=input.unit,
        quantity=input.quantity,
        total=quoted.quote.total,
        per_minute=quoted.quote.per_minute,
        distribution=Distribution.of(shares),
        pricing_version=quoted.pricing_version,
        affordable=quoted.affordable,
    )


async def hire_agent(info: Info, input: HireAgentInput) -> HireAgentResult:
    """Hold the whole price of a hire and start its session. PRICE_CHANGED where the listing has another
    `pricingVersion` by now; the same idempotencyKey and input give the same session.
    """
    context = info.context
    wish = Hire(
        listing_id=input.listing_id,
        unit=input.unit,
        quantity=input.quantity,
        pricing_version=input.pricing_version,
        configuration=_configuration(input.configuration),
        key=input.idempotency_key,
    )
    record, wallet = await context.store.sessions.hire(context.signed_in, wish, context.now, context.key_id)
    return HireAgentPayload(session=Session.of(record, context), wallet=Wallet.of(wallet))


async def start_session(info: Info, input: StartSessionInput) -> StartSessionResult:
    """Start a session with one's own agent (OWNED) or a trial (TRIAL); hire with hireAgent. TRIAL_USED for a second
    trial of an agent.
    """
    if input.type is SessionType.HIRED:
        raise BadInput("startSession starts OWNED and TRIAL sessions: hire with hireAgent.", field="input.type")
    context = info.context
    allowance = input.usage_allowance or ZERO
    if not 0 <= allowance.units <= DOF_MAX:
        raise BadInput("A usage allowance is 0 DOF or more.", field="input.usageAllowance")
    wish = Start(
        agent_id=input.agent_id,
        type=input.type,
        configuration=_configuration(input.configuration),
        minutes=input.minutes,
        usage_allowance=allowance,
        key=input.idempotency_key,
    )
    record = await context.store.sessions.start(context.signed_in, wish, context.now, context.key_id)
    return StartSessionPayload(session=Session.of(record, context))


async def extend_session(info: Info, input: ExtendSessionInput) -> ExtendSessionResult:
    """Hold more DOF and let the session run longer, at the prices that it began with. SESSION_ENDED once it is over."""
    context = info.context
    record, wallet = await context.store.sessions.extend(
        context.signed_in,
        input.session_id,
        input.unit,
        input.quantity,
        input.idempotency_key,
        context.now,
        context.key_id,
    )
    return ExtendSessionPayload(session=Session.of(record, context), wallet=Wallet.of(wallet))


async def record_usage(info: Info, input: RecordUsageInput) -> RecordUsageResult:
    """Add metered usage, in whole DOF, to a session that runs: once for each `sequence`. Sent again with the same
    figures it changes nothing, with others it is refused.
    """
    context = info.context
    usage = Usage(
        session_id=input.session_id,
        sequence=input.sequence,
        dof=input.dof,
        interactions=input.interactions or 0,
        latency_ms=input.latency_ms,
        crashed=bool(input.crashed),
    )
    record = await context.store.sessions.record_usage(context.signed_in, usage, context.now)
    return RecordUsagePayload(session=Session.of(record, context))


async def end_session(info: Info, input: EndSessionInput) -> EndSessionResult:
    """End a session and settle it: what was used is divided, the rest of the hold comes back. By its hirer, its owner
    or a moderator; the same idempotencyKey gives the same answer.
    """
    context = info.context
    moderator = await _judges(context, input.session_id)
    record, wallet = await context.store.sessions.end(
        context.signed_in, input.session_id, input.idempotency_key, context.now, moderator=moderator
    )
    own = Wallet.of(wallet) if record.hirer_id == context.user_id else await wallet_of(context)
    return EndSessionPayload(session=Session.of(record, context), wallet=own)


async def refund_session(info: Info, input: RefundSessionInput) -> RefundSessionResult:
    """Give DOF of a settled session back to its hirer, out of what its owner, its creator and the store got. CONFLICT
    for more than is left of it.
    """
    context = info.context
    reason = texts.line(input.reason, "input.reason", NOTE_CHARACTERS_MAX)
    record, _ = await context.store.refunds.refund(
        context.signed_in, input.session_id, input.amount, reason, input.idempotency_key, context.now
    )
    return RefundSessionPayload(session=Session.of(record, context), refunded=record.refunded)


async def _judges(context: Context, session_id: str) -> bool:
    """Whether the viewer ends another's session by office. The role is read only where it is not a party's own."""
    record = await nodes.session_record(context, session_id)
    if record is None or context.user_id in (record.hirer_id, record.owner_id):
        return False
    return await context.role() is not Role.USER


def _configuration(asked: SessionConfigurationInput | None) -> Configuration:
    return asked.read() if asked else Configuration()
