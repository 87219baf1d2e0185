"""How the store says no: each refusal is a type of the schema, each fault a code; anything else is masked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import strawberry
import structlog
from graphql import GraphQLError
from strawberry.types.field import StrawberryField

from domain import errors
from domain.errors import RefusalCode
from domain.money import Dof
from graph.context import Info
from graph.enums import enum
from graph.sizes import at_most

log = structlog.get_logger(__name__)
enum(
    RefusalCode,
    "Why the store said no. The message of a refusal says what to do.",
    INSUFFICIENT_DOF="The wallet has less available, or for a payout less payable, than is needed.",
    WALLET_FROZEN="The wallet owes DOF, or a dispute is open: it may not spend.",
    IDEMPOTENCY_CONFLICT="The idempotencyKey, or a usage's sequence, came before with another input.",
    PRICE_CHANGED="The listing has another price than the one that was seen.",
    NOT_HIRABLE="The listing takes no hires.",
    NOT_AVAILABLE="The owner has paused the listing, or the agent cannot be used at this moment.",
    TRIAL_USED="This agent was tried before.",
    SESSION_ENDED="The session is over.",
    ALREADY_REVIEWED="This hire has its review.",
    NOT_REVIEWABLE="Only a hire that has ended and was used can be reviewed.",
    INVALID_CONFIGURATION="The configuration breaks its provider's limits.",
    NOT_PUBLISHABLE="The agent cannot be put on the market as it is.",
    AGENT_IN_USE="A session of the agent runs.",
    EMAIL_TAKEN="The e-mail address has an account.",
    BAD_CREDENTIALS="What was to prove who asks does not.",
    WEAK_PASSWORD="The password is too easy to guess.",  # noqa: S106 - a description, not a password
    PAYOUT_NOT_READY="The payout account is not complete, or too little has matured.",
    BELOW_MINIMUM="The payout is less than the least that is paid out.",
    UNKNOWN_PACKAGE="The price table has no such package.",
    SELF_DEALING="A trade with oneself.",
    NOT_FOUND="It is missing, or not visible to the viewer.",
    CONFLICT="It does not fit how things stand now: read again.",
    SPEND_CAP_REACHED="The API key may not spend so much.",
)


@strawberry.interface(description="Why the store said no, in a form that every client can read.")
class Refusal:
    code: RefusalCode
    message: str


@strawberry.type(description="What is needed and what is available, or for a payout payable, in whole DOF.")
class InsufficientDof(Refusal):
    needed: Dof
    available: Dof


@strawberry.type(description="With what the wallet owes in whole DOF; 0 where a dispute froze it.")
class WalletFrozen(Refusal):
    debt: Dof


@strawberry.type(description="What is needed and what the API key may still spend, in whole DOF.")
class SpendCapReached(Refusal):
    needed: Dof
    left: Dof


@strawberry.type
class IdempotencyConflict(Refusal):
    pass


@strawberry.type(description="With the version of the listing's price of now.")
class PriceChanged(Refusal):
    current_version: int


PROBLEMS_MAX = 20  # of one agent: no more of its fields can break a limit


@strawberry.type
class ConfigurationProblem:
    field: str
    message: str


@strawberry.type(description="With each field that breaks its provider's limits.")
class InvalidConfiguration(Refusal):
    problems: list[ConfigurationProblem] = strawberry.field(metadata=at_most(PROBLEMS_MAX))


@strawberry.type
class NotHirable(Refusal):
    pass


@strawberry.type
class NotAvailable(Refusal):
    pass


@strawberry.type
class TrialUsed(Refusal):
    pass


@strawberry.type(description="The code is SESSION_ENDED.")
class SessionOver(Refusal):
    pass


@strawberry.type
class AlreadyReviewed(Refusal):
    pass


@strawberry.type
class NotReviewable(Refusal):
    pass


@strawberry.type
class NotPublishable(Refusal):
    pass


@strawberry.type
class AgentInUse(Refusal):
    pass


@strawberry.type
class EmailTaken(Refusal):
    pass


@strawberry.type
class BadCredentials(Refusal):
    pass


@strawberry.type
class WeakPassword(Refusal):
    pass


@strawberry.type
class PayoutNotReady(Refusal):
    pass


@strawberry.type
class BelowMinimum(Refusal):
    pass


@strawberry.type
class UnknownPackage(Refusal):
    pass


@strawberry.type
class SelfDealing(Refusal):
    pass


@strawberry.type
class NotFound(Refusal):
    pass


@strawberry.type
class Conflict(Refusal):
    pass


REFUSALS: Mapping[type[errors.Refusal], type[Refusal]] = {
    errors.InsufficientDof: InsufficientDof,
    errors.WalletFrozen: WalletFrozen,
    errors.SpendCapReached: SpendCapReached,
    errors.IdempotencyConflict: IdempotencyConflict,
    errors.PriceChanged: PriceChanged,
    errors.InvalidConfiguration: InvalidConfiguration,
    errors.NotHirable: NotHirable,
    errors.NotAvailable: NotAvailable,
    errors.TrialUsed: TrialUsed,
    errors.SessionOver: SessionOver,
    errors.AlreadyReviewed: AlreadyReviewed,
    errors.NotReviewable: NotReviewable,
    errors.NotPublishable: NotPublishable,
    errors.AgentInUse: AgentInUse,
    errors.EmailTaken: EmailTaken,
    errors.BadCredentials: BadCredentials,
    errors.WeakPassword: WeakPassword,
    errors.PayoutNotReady: PayoutNotReady,
    errors.BelowMinimum: BelowMinimum,
    errors.UnknownPackage: UnknownPackage,
    errors.SelfDealing: SelfDealing,
    errors.NotFound: NotFound,
    errors.Conflict: Conflict,
}


class _Handler:
    """Turns one kind of refusal into its member of the mutation's result union."""

    def __init__(self, raised: type[errors.Refusal], shown: type[Refusal]) -> None:
        self.exception_type = raised
        self.error_type = shown

    def handle(self, exception: errors.Refusal, *, field: StrawberryField, info: Info) -> Refusal:
        info.context.refusals.append(exception.code.value)
        return self.error_type(code=exception.code, message=exception.message, **_facts(exception))


def _facts(refusal: errors.Refusal) -> dict[str, Any]:
    match refusal:
        case errors.InsufficientDof():
            return {"needed": Dof(refusal.needed), "available": Dof(refusal.available)}
        case errors.WalletFrozen():
            return {"debt": Dof(refusal.debt)}
        case errors.SpendCapReached():
            return {"needed": Dof(refusal.needed), "left": Dof(refusal.left)}
        case errors.PriceChanged():
            return {"current_version": refusal.current_version}
        case errors.InvalidConfiguration():
            return {"problems": [ConfigurationProblem(field=name, message=text) for name, text in refusal.problems]}
    return {}


HANDLERS = tuple(_Handler(raised, shown) for raised, shown in REFUSALS.items())


def present(error: GraphQLError) -> dict[str, Any]:
    """One error as the client sees it: a code and what to do; what we did not foresee is logged, and masked.

    Of the exception every log line has the type and the place, never the text, which may hold what a client sent
    (T-G09; `functions/logs.py`).
    """
    cause = error.original_error
    shown: dict[str, Any] = {"message": error.message}
    if error.locations:
        shown["locations"] = [location.formatted for location in error.locations]
    if error.path:
        shown["path"] = list(error.path)
    extensions: dict[str, Any] = {"code": "BAD_USER_INPUT", **(error.extensions or {})}
    match cause:
        case errors.Fault():
            extensions["code"] = cause.code
            shown["message"] = cause.message
            if isinstance(cause, errors.BadInput) and cause.field:
                extensions["field"] = cause.field
            if isinstance(cause, errors.RateLimited):
                extensions["retryAfterSeconds"] = cause.retry_after_seconds
        case errors.Refusal():
            extensions["code"] = cause.code.value
            shown["message"] = cause.message
        case None | GraphQLError():
            pass
        case _:
            extensions["code"] = "INTERNAL"
            shown["message"] = "Something went wrong on our side: try again, and name the request id if it stays."
            log.error("fault", path=shown.get("path"), exc_info=cause)
    shown["extensions"] = extensions
    return shown
