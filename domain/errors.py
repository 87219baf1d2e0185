"""Refusals and faults.

A refusal is an answer: the store understood, and says no for a reason that the caller can act on. It carries its facts,
and becomes a member of the mutation's result union. A fault is everything else that the caller may know by a code;
whatever is neither is masked.
"""

from __future__ import annotations

from enum import StrEnum


class RefusalCode(StrEnum):
    """The contract's `RefusalCode`."""

    INSUFFICIENT_DOF = "INSUFFICIENT_DOF"
    WALLET_FROZEN = "WALLET_FROZEN"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    PRICE_CHANGED = "PRICE_CHANGED"
    NOT_HIRABLE = "NOT_HIRABLE"
    NOT_AVAILABLE = "NOT_AVAILABLE"
    TRIAL_USED = "TRIAL_USED"
    SESSION_ENDED = "SESSION_ENDED"
    ALREADY_REVIEWED = "ALREADY_REVIEWED"
    NOT_REVIEWABLE = "NOT_REVIEWABLE"
    INVALID_CONFIGURATION = "INVALID_CONFIGURATION"
    NOT_PUBLISHABLE = "NOT_PUBLISHABLE"
    AGENT_IN_USE = "AGENT_IN_USE"
    EMAIL_TAKEN = "EMAIL_TAKEN"
    BAD_CREDENTIALS = "BAD_CREDENTIALS"
    WEAK_PASSWORD = "WEAK_PASSWORD"  # noqa: S105 - a code, not a secret
    PAYOUT_NOT_READY = "PAYOUT_NOT_READY"
    BELOW_MINIMUM = "BELOW_MINIMUM"
    UNKNOWN_PACKAGE = "UNKNOWN_PACKAGE"
    SELF_DEALING = "SELF_DEALING"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    SPEND_CAP_REACHED = "SPEND_CAP_REACHED"


class Refusal(Exception):
    """The store says no. `message` tells the reader what to do; subclasses add the facts."""

    code: RefusalCode

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InsufficientDof(Refusal):
    """The wallet has less available than the operation needs. Both figures are whole DOF.

    For a payout `available` is what is payable, and buying DOF would not help: only earnings are paid out.
    """

    code = RefusalCode.INSUFFICIENT_DOF

    def __init__(self, *, needed: int, available: int, payout: bool = False) -> None:
        text = f"This needs {needed} DOF and {available} are available: buy DOF with purchaseDof, then try again."
        if payout:
            text = (
                f"Only matured earnings are payable, and {available} of {needed} DOF are: ask for less, or wait for "
                "the next to mature."
            )
        super().__init__(text)
        self.needed = needed
        self.available = available


class WalletFrozen(Refusal):
    """The wallet may not spend: it carries debt, or a dispute of a payment of its owner's is open."""

    code = RefusalCode.WALLET_FROZEN

    def __init__(self, *, debt: int) -> None:
        cause = f"it owes {debt} DOF: buy DOF to repay it" if debt else "a dispute is open: contact support"
        super().__init__(f"This wallet cannot spend, because {cause}.")
        self.debt = debt


class SpendCapReached(Refusal):
    """The API key has less left of its cap than the operation needs. Both figures are whole DOF."""

    code = RefusalCode.SPEND_CAP_REACHED

    def __init__(self, *, needed: int, left: int) -> None:
        super().__init__(
            f"This needs {needed} DOF and the key may spend {left} more: use a key with a higher dofSpendCap, "
            "or sign in as a person."
        )
        self.needed = needed
        self.left = left


class IdempotencyConflict(Refusal):
    """The key, or what stands for it, was used before, with another input (ruling 12)."""

    code = RefusalCode.IDEMPOTENCY_CONFLICT

    def __init__(self, key: str = "idempotencyKey") -> None:
        new = "key" if key == "idempotencyKey" else key
        super().__init__(f"This {key} was used with another input: send the same input again, or choose a new {new}.")


class PriceChanged(Refusal):
    """The listing's price is not the one that the caller saw."""

    code = RefusalCode.PRICE_CHANGED

    def __init__(self, *, expected_version: int, current_version: int) -> None:
        super().__init__(
            f"The price is now at version {current_version}, not {expected_version}: "
            "read quoteHire again and confirm the new total."
        )
        self.current_version = current_version


class InvalidConfiguration(Refusal):
    """A configuration breaks its provider's limits; `problems` names each field."""

    code = RefusalCode.INVALID_CONFIGURATION

    def __init__(self, problems: tuple[tuple[str, str], ...]) -> None:
        fields = ", ".join(field for field, _ in problems)
        super().__init__(f"The configuration is not valid ({fields}): see problems, mend each field and send it again.")
        self.problems = problems


class NotHirable(Refusal):
    code = RefusalCode.NOT_HIRABLE


class NotAvailable(Refusal):
    code = RefusalCode.NOT_AVAILABLE


class TrialUsed(Refusal):
    code = RefusalCode.TRIAL_USED


class SessionOver(Refusal):
    code = RefusalCode.SESSION_ENDED


class AlreadyReviewed(Refusal):
    code = RefusalCode.ALREADY_REVIEWED


class NotReviewable(Refusal):
    code = RefusalCode.NOT_REVIEWABLE


class NotPublishable(Refusal):
    code = RefusalCode.NOT_PUBLISHABLE


class AgentInUse(Refusal):
    code = RefusalCode.AGENT_IN_USE


class EmailTaken(Refusal):
    code = RefusalCode.EMAIL_TAKEN


class BadCredentials(Refusal):
    code = RefusalCode.BAD_CREDENTIALS


class WeakPassword(Refusal):
    code = RefusalCode.WEAK_PASSWORD


class PayoutNotReady(Refusal):
    code = RefusalCode.PAYOUT_NOT_READY


class BelowMinimum(Refusal):
    code = RefusalCode.BELOW_MINIMUM


class UnknownPackage(Refusal):
    code = RefusalCode.UNKNOWN_PACKAGE


class SelfDealing(Refusal):
    code = RefusalCode.SELF_DEALING


class NotFound(Refusal):
    """Missing, or not for the viewer's eyes: the two look the same (ruling 10)."""

    code = RefusalCode.NOT_FOUND

    def __init__(self, kind: str) -> None:
        super().__init__(f"There is no such {kind}, or it is not visible to you: check the id.")


class Conflict(Refusal):
    code = RefusalCode.CONFLICT


class Fault(Exception):
    """Not an answer about the business: malformed, not signed in, not allowed, or not working. `code` is public."""

    code = "INTERNAL"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadInput(Fault):
    """The request is malformed; `field` is the input field that is wrong, where one is."""

    code = "BAD_USER_INPUT"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Unauthenticated(Fault):
    code = "UNAUTHENTICATED"


class Forbidden(Fault):
    code = "FORBIDDEN"


class RateLimited(Fault):
    """Too many requests; `retry_after_seconds` says when to come back."""

    code = "RATE_LIMITED"

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(Fault):
    """Something that the answer needs is down, or too slow. Trying again later is safe."""

    code = "UNAVAILABLE"
