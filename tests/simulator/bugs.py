"""Bugs to plant: each takes one guard away, or two that cover each other, by changing a line of a module's source.

The change is made in memory, while the module is imported, so that every user of the module gets it. A guard that moved
makes its bug impossible to plant, which is an error too: whoever changes a guard looks here.
"""

# ruff: noqa: E501 - a guard is quoted as it stands
from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True, slots=True)
class Edit:
    """In the module's source, `old` stands once, and becomes `new`."""

    module: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Bug:
    name: str
    edits: tuple[Edit, ...]
    covered: str | None = None  # why no history misses this guard, if it is so


def _bug(name: str, *edits: tuple[str, str, str], covered: str | None = None) -> Bug:
    return Bug(name, tuple(Edit(*each) for each in edits), covered)


COMMIT = "firestore.commit"
NO_VERSION = (COMMIT, "must_be_absent=before is None, version=version)", "must_be_absent=before is None)")
NO_ABSENCE = (
    COMMIT,
    "self._writes[write.path] = write\n",
    "from dataclasses import replace as r; self._writes[write.path] = r(write, must_be_absent=False)\n",
)
ANY_FIRST = (COMMIT, "must_be_absent=before is None, version=version)", "version=version)")

# fmt: off
BUGS: tuple[Bug, ...] = (
    # ---- the commit rule
    _bug("no_version", NO_VERSION),
    _bug("no_create", NO_ABSENCE),
    _bug("no_version_no_create", NO_VERSION, NO_ABSENCE),
    _bug("first_write_unguarded", ANY_FIRST),
    _bug(
        "conflict_counts_as_done",
        (COMMIT, "            except (Conflict, Unclear) as failed:\n", "            except Conflict:\n                return result\n            except Unclear as failed:\n"),
    ),
    _bug(
        "unclear_counts_as_done",
        (COMMIT, "            except (Conflict, Unclear) as failed:\n", "            except Unclear:\n                return result\n            except Conflict as failed:\n"),
    ),
    _bug("refused_while_under_way", (COMMIT, "if unclear and isinstance(problem, Refusal):", "if False:"), covered="it takes a price that changes while a commit is under way, rarer than one history in thousands; tests/firestore/test_commit.py makes the moment"),
    _bug("torn_reading_believed", (COMMIT, "if not await tx.is_torn():", "if True:")),
    _bug(
        "commit_in_two",
        (
            COMMIT,
            "                    await self._backend.commit(tx.writes)\n",
            "                    for each in tx.writes:\n                        await self._backend.commit([each])\n",
        ),
    ),
    # ---- the ledger
    _bug("entry_id_random", ("firestore.ledger", "entry_id = derived_id(Kind.ENTRY, kind, *fact)", "import random; entry_id = derived_id(Kind.ENTRY, random.random())")),
    _bug("wallet_version_stands", ("firestore.ledger", "version=wallet.version + 1,", "version=wallet.version,")),
    _bug("last_move_lost", ("firestore.ledger", "for move in moves for posting in move.postings)", "for move in moves[:1] for posting in move.postings)")),
    _bug("wallet_not_written", ("firestore.ledger", "    for wallet in wallets.values():\n        tx.put", "    for wallet in list(wallets.values())[1:]:\n        tx.put")),
    _bug("entry_not_written", ("firestore.ledger", "    tx.create(ENTRIES, entry)\n", "    if kind is not EntryKind.EXTEND:\n        tx.create(ENTRIES, entry)\n")),
    _bug("payable_not_capped", ("firestore.ledger", "payable=wallet.payable_at_most)", "payable=wallet.payable)")),
    # ---- wallets
    _bug("no_balance_check", ("domain.wallets", "if wallet.available < amount:", "if False:")),
    _bug("frozen_spends", ("domain.wallets", "if wallet.frozen or wallet.debt:", "if wallet.debt:")),
    _bug("debtor_spends", ("domain.wallets", "if wallet.frozen or wallet.debt:", "if wallet.frozen:"), covered="who owes has nothing available, so the balance refuses as well, by another name"),
    _bug("debtor_spends_unchecked", ("domain.wallets", "if wallet.frozen or wallet.debt:", "if wallet.frozen:"), ("domain.wallets", "if wallet.available < amount:", "if False:")),
    _bug("debt_not_first", ("domain.wallets", "repaid = min(wallet.debt, amount)", "repaid = ZERO")),
    _bug("release_skips_debt", ("domain.wallets", "back = credit(replace(wallet, held=wallet.held - amount), amount, source)", "back = Move(replace(wallet, held=wallet.held - amount, available=wallet.available + amount), _postings((source, ledger.available(wallet.id), amount)))")),
    _bug("reclaim_forgives", ("domain.wallets", "owed = amount - taken\n    after = replace(wallet, available=wallet.available - taken,", "owed = ZERO\n    after = replace(wallet, available=wallet.available - taken,")),
    _bug("reclaim_all_as_debt", ("domain.wallets", "taken = min(wallet.available, amount)\n    owed", "taken = ZERO\n    owed")),
    _bug("too_much_fits", ("domain.wallets", "return -DOF_MAX <= kept <= DOF_MAX - wallet.held.units", "return True")),
    # ---- amounts
    _bug("floor_split", ("domain.money", "        parts[place] += 1\n", "        pass\n")),
    _bug("rest_to_the_last", ("domain.money", "    for place in order[: amount.units - sum(parts)]:\n        parts[place] += 1\n", "    parts[-1] += amount.units - sum(parts)\n")),
    _bug("price_rounded_down", ("domain.money", "return Dof(-(-self.units * part // whole))", "return Dof(self.units * part // whole)")),
    _bug("minute_rounded_down", ("domain.metering", "min(most, -(-elapsed // MINUTE))", "min(most, elapsed // MINUTE)")),
    _bug("over_capture", ("domain.metering", "return Dof(min(held.units, charge(", "return Dof(max(0, charge("), ),
    _bug("surcharge_forgotten", ("domain.metering", "return price + surcharge_per_minute * minutes", "return price")),
    # ---- sessions
    _bug("extension_not_held", ("domain.sessions", "        held=session.held + quote.total,\n", "")),
    _bug("extension_not_charged", ("firestore.sessions", "            if priced.total:\n", "            if False:\n")),
    _bug("extension_repeats", ("firestore.sessions", "            if used in done:\n", "            if False:\n")),
    _bug("usage_repeats", ("firestore.sessions", "            if before is not None:\n                if before.fingerprint", "            if False:\n                if before.fingerprint"), ("firestore.sessions", "tx.create(USAGE, UsageRecord(", "tx.put(USAGE, UsageRecord(")),
    _bug("usage_repeats_created", ("firestore.sessions", "            if before is not None:\n                if before.fingerprint", "            if False:\n                if before.fingerprint")),
    _bug("usage_of_any_figures", ("firestore.sessions", "if before.fingerprint != mark:", "if False:")),
    _bug("usage_after_the_end", ("domain.sessions", "    if session.is_over(max(now, session.last_change_at)):\n", "    if False:\n")),
    _bug("clock_behind_revives", ("domain.sessions", "session.is_over(max(now, session.last_change_at))", "session.is_over(now)")),
    _bug("change_dated_back", ("domain.sessions", "    at = max(now, session.last_change_at)\n", "    at = now\n")),
    _bug("end_dated_back", ("domain.sessions", "ended_at = session.over_at if natural else max(now, session.last_change_at)", "ended_at = session.over_at if natural else now")),
    _bug("end_when_noticed", ("domain.sessions", "ended_at = session.over_at if natural else max(now, session.last_change_at)", "ended_at = max(now, session.last_change_at)")),
    _bug("hire_of_any_input", ("firestore.sessions", "    if known is not None and known.fingerprint != mark:\n        raise IdempotencyConflict\n    return known", "    return known")),
    _bug("hire_repeats", ("firestore.sessions", "            if known is not None:\n                return known, wallet_of(tx, viewer_id)\n            require_active", "            require_active")),
    _bug("price_changed_unseen", ("domain.pricing", "    if pricing.version != expected_version:", "    if False:")),
    _bug("anybody_ends", ("firestore.sessions", "if session is None or not (moderator or viewer_id in (session.hirer_id, session.owner_id)):", "if session is None:")),
    _bug("settled_again", ("firestore.sessions", "if session is None or session.settlement is not None or now < session.over_at:", "if session is None or now < session.over_at:"), ("firestore.sessions", "return settle(tx, session, None, ", "return settle(tx, replace(session, settlement=None), None, ")),
    _bug("settled_early", ("firestore.sessions", "session.settlement is not None or now < session.over_at:", "session.settlement is not None:"), ("domain.sessions", '    assert natural or reason is not None, "a running session ends for a reason"\n', "")),
    _bug("shares_forgotten", ("firestore.settlement", "    shares = revenue.targets(settlement.distribution, session.owner_id, session.creator_id)", "    shares = ((revenue.ledger.PLATFORM_FEES, settlement.consumed),)")),
    _bug("creator_forgotten", ("domain.revenue", "((owner_id, distribution.owner), (creator_id, distribution.creator))", "((owner_id, distribution.owner),)")),
    _bug("one_person_twice", ("domain.revenue", "    if owner_id == creator_id:\n", "    if False:\n")),
    _bug("accrued_twice", ("firestore.settlement", "    assert session.settlement is not None, \"only a settled session is paid out\"\n    tx.create(\n", "    tx.create(ACCRUALS, Accrual(derived_id(Kind.ACCRUAL, accrual_id), user_id, session.id, share, entry_id, now, matures_at))\n    tx.create(\n")),
    # ---- orders
    _bug("refund_first_lost", ("domain.orders", "        elif report.kind not in FLOODABLE or", "        elif report.kind is FactKind.REFUND and not order.is_paid:\n            continue\n        elif report.kind not in FLOODABLE or")),
    _bug("refund_counts_twice", ("domain.orders", "            facts[report.key] = value(report, packages, at)", "            facts[report.key] = value(report, packages, at)\n        if known is not None and report.kind is FactKind.REFUND:\n            facts[f'{report.key}:{len(facts)}'] = value(report, packages, at)")),
    _bug("cancel_ignored", ("domain.orders", "        if self.is_cancelled or paid is None", "        if paid is None")),
    _bug("applied_forgotten", ("firestore.orders", "delta, world = order.target - order.applied, _WORLD", "delta, world = order.target, _WORLD")),
    _bug("entries_not_counted", ("firestore.orders", "entries=order.entries + 1, transaction_id", "entries=order.entries, transaction_id")),
    _bug("doubt_ignored", ("domain.orders", "return Fact(FactKind.PAID, at, report.gross or report.money, ZERO if doubt else dof, doubt)", "return Fact(FactKind.PAID, at, report.gross or report.money, dof, None)")),
    _bug("currency_ignored", ("domain.orders", "    if doubt is None and report.money != price:", "    if doubt is None and report.money.minor_units != price.minor_units:")),
    _bug("underpaid_is_paid", ("domain.orders", "    if doubt is None and report.money != price:", "    if doubt is None and report.money.currency != price.currency:")),
    _bug("refund_past_zero", ("domain.orders", "max(0, paid.money.minor_units - lost)", "(paid.money.minor_units - lost)")),
    _bug("failed_refund_counts", ("domain.orders", "failed = sum(units for key, units in refunds.items() if key in came_back)", "failed = 0")),
    _bug("totals_added_up", ("domain.orders", "        return max(sum(refunds.values()) - failed, max(totals, default=0) - failed, 0)", "        return max(sum(refunds.values()) - failed + sum(totals), 0)")),
    _bug("won_dispute_counts", ("domain.orders", "    FactKind.DISPUTE_LOST,\n    FactKind.DISPUTE_APPEALED,\n    FactKind.DISPUTE_WON,\n", "    FactKind.DISPUTE_WON,\n    FactKind.DISPUTE_LOST,\n    FactKind.DISPUTE_APPEALED,\n")),
    _bug("contest_is_silent", ("domain.orders", "return kinds >= _CONTEST and FactKind.DISPUTE_APPEALED not in kinds", "return False")),
    _bug("inquiry_ends_dispute", ("domain.orders", "    FactKind.DISPUTE_CLOSED,\n    FactKind.DISPUTE_OPENED,\n    FactKind.DISPUTE_LOST,\n", "    FactKind.DISPUTE_OPENED,\n    FactKind.DISPUTE_CLOSED,\n    FactKind.DISPUTE_LOST,\n")),
    _bug("dispute_does_not_freeze", ("firestore.orders", "wallet = replace(wallet, open_disputes=wallet.open_disputes + opened)", "pass")),
    _bug("dispute_never_thaws", ("firestore.orders", "opened = 1 if order.has_open_dispute else -1", "opened = 1 if order.has_open_dispute else 0")),
    _bug("decision_not_heard", ("domain.orders", "        return replace(payment, dof=verdict.dof, doubt=None)", "        return payment if payment.doubt is None else replace(payment, dof=verdict.dof, doubt=None)"), covered="no history doubts a refund of a certain payment; tests/firestore/test_purchases.py does"),
    _bug("closed_once_for_all", ("firestore.orders", '("closed", order.id, status, wallet.sequence)', '("closed", order.id, status)'), covered="it takes a wallet without room and two refunds, of which one comes back; tests/firestore/test_purchases.py makes them"),
    _bug("cart_paid_twice", ("firestore.orders", "open_ = asked is not None and (asked.status is TransactionStatus.PENDING or _closed_by(order, asked))", "open_ = asked is not None")),
    _bug("purchase_of_any_input", ("firestore.purchases", "                if known.fingerprint != wish.fingerprint:\n                    raise IdempotencyConflict\n                pending", "                pending")),
    _bug("order_not_written", ("firestore.orders", "            if order != known:", "            if order != known and not order.is_cancelled:")),
    # ---- between processes
    _bug("done_before_work", ("functions.tasks.orders", "        order = await store.orders.absorb(told, read_delivery, now)", "        await store.outbox.finish(row_id)\n        order = await store.orders.absorb(told, read_delivery, now)")),
    _bug("task_not_kept", ("firestore.inbox", "            writes += [Write(OUTBOX", "            [Write(OUTBOX")),
    _bug("sweep_sees_nothing", ("firestore.outbox", 'Filter("due_at", "<=", now)', 'Filter("due_at", "<=", now - timedelta(days=365))')),
    _bug("session_not_followed", ("firestore.sessions", "events=(event,), task=FOLLOW, args=args))", "events=(event,)))")),
    _bug("row_done_while_it_runs", ("firestore.topics", "            if session is None or session.settled:\n", "            if True:\n"),),
    _bug("hire_counted_twice", ("domain.listings", "    if tally.hired:\n", "    if False:\n")),
    _bug("counted_hire_looked_at_again", ("firestore.topics", "        if tally.hired and tally.ended >= ended:\n            return\n", "")),
    # ---- transfers, adjustments
    _bug("transfer_not_taken", ("firestore.wallets", "available=giver.available - amount), ())", "available=giver.available), ())")),
    _bug("transfer_of_any_input", ("firestore.wallets", "mark = fingerprint(to_user_id, amount.units, note)", 'mark = "one"')),
    _bug("transfer_repeats", ("firestore.wallets", '            known = tx.get(TRANSACTIONS, sent_id)\n            if known is not None:\n', '            known = tx.get(TRANSACTIONS, sent_id)\n            if False:\n')),
    _bug("adjustment_of_any_input", ("firestore.wallets", "mark = fingerprint(user_id, amount, reason)", 'mark = "one"')),
    # ---- earnings, refunds, payouts
    _bug("matured_early", ("firestore.earnings", 'filters = (*_maturing(user_id), Filter("matures_at", "<=", now))', "filters = _maturing(user_id)")),
    _bug("matured_again", ("firestore.earnings", "tx.put(ACCRUALS, replace(accrual, state=AccrualState.MATURED, matured_by=entry_id if amount else None))", "pass")),
    _bug("refund_of_more", ("domain.refunds", "    if not 1 <= amount.units <= left.units:", "    if False:")),
    _bug("refund_not_remembered", ("firestore.refunds", "            tx.put(SESSIONS, after)\n", "")),
    _bug("refund_leaves_the_accrual", ("firestore.refunds", "tx.put(ACCRUALS, replace(accrual, amount=accrual.amount - take.from_earned))", "pass")),
    _bug("refund_of_any_input", ("firestore.refunds", "            if known is not None and known.fingerprint != mark:\n                raise IdempotencyConflict\n", "")),
    _bug("refund_spares_the_platform", ("firestore.refunds", "        if back.platform:\n", "        if False:\n")),
    _bug("bought_is_paid_out", ("domain.payouts", "    if wallet.payable < amount:", "    if False:")),
    _bug("failed_payout_fails_again", ("domain.payouts", "    if payout.state is PayoutState.FAILED:\n        return payout, None\n", "")),
    _bug("failed_payout_comes_back_twice", ("domain.payouts", "    if payout.state is PayoutState.FAILED:\n        return payout, None\n", ""), NO_ABSENCE),
    _bug("paid_after_failed", ("domain.payouts", "    if payout.state not in (PayoutState.REQUESTED, PayoutState.SENT):\n        return payout\n    return replace(payout, state=PayoutState.PAID", "    if payout.state is PayoutState.PAID:\n        return payout\n    return replace(payout, state=PayoutState.PAID")),
    _bug("failed_after_paid_ignored", ("domain.payouts", "    if payout.state is PayoutState.FAILED:\n        return payout, None\n", "    if payout.state in (PayoutState.FAILED, PayoutState.PAID):\n        return payout, None\n")),
    _bug("deleted_account_earns", ("domain.wallets", "    if wallet.closed:\n        return Move(wallet, _postings((source, ledger.PLATFORM_FEES", "    if False:\n        return Move(wallet, _postings((source, ledger.PLATFORM_FEES")),
    _bug("platform_keeps_what_matures", ("domain.wallets", "    if wallet.closed:\n        return Move(wallet, _postings((source, ledger.PLATFORM_FEES", "    if True:\n        return Move(wallet, _postings((source, ledger.PLATFORM_FEES")),
    _bug("deleted_account_owes", ("firestore.refunds", "    if wallet.closed:\n", "    if False:\n")),
    _bug("platform_bears_all_refunds", ("firestore.refunds", "    if wallet.closed:\n", "    if True:\n")),
    _bug("payout_of_any_input", ("firestore.payouts", "                if known.fingerprint != mark:\n                    raise IdempotencyConflict\n", "")),
    _bug("failed_payout_from_pending", ("domain.payouts", "source = ledger.WORLD_STRIPE if payout.state is PayoutState.PAID else ledger.PAYOUTS_PENDING", "source = ledger.PAYOUTS_PENDING")),
    _bug("failed_payout_keeps_its_transfer", ("functions.tasks.payouts", "        if transfer_id is not None:\n            await gateway.reverse(", "        if False:\n            await gateway.reverse(")),
)
# fmt: on


def named(name: str) -> Bug:
    """The bug with this name."""
    return next(bug for bug in BUGS if bug.name == name)


class _Source(importlib.machinery.SourceFileLoader):
    """Loads a module with its edits; nothing of it is kept on disk."""

    edits: Sequence[Edit] = ()

    def get_code(self, fullname: str) -> Any:
        source = self.get_source(fullname) or ""
        for edit in self.edits:
            if source.count(edit.old) != 1:
                raise AssertionError(f"{fullname} holds {edit.old!r} {source.count(edit.old)} times: plant it anew")
            source = source.replace(edit.old, edit.new)
        return compile(source, self.get_filename(fullname), "exec")


class Planter(importlib.abc.MetaPathFinder):
    """Finds the modules that a bug changes. It must be in place before any of them is imported."""

    def __init__(self, bug: Bug) -> None:
        self._edits: dict[str, list[Edit]] = {}
        for edit in bug.edits:
            self._edits.setdefault(edit.module, []).append(edit)
        loaded = self._edits.keys() & sys.modules.keys()
        assert not loaded, f"{sorted(loaded)} are imported already: plant in a process of its own"

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> Any:
        if fullname not in self._edits:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert spec is not None, f"there is a module {fullname}"
        assert spec.origin is not None, f"{fullname} is a file"
        loader = _Source(fullname, spec.origin)
        loader.edits = self._edits[fullname]
        return importlib.util.spec_from_file_location(fullname, spec.origin, loader=loader)


def plant(bug: Bug) -> None:
    """Plant a bug in this process."""
    sys.meta_path.insert(0, Planter(bug))


def unplantable(sources: Mapping[str, str]) -> list[str]:
    """The bugs whose guard is no longer where it was, by the sources of the modules."""
    return [bug.name for bug in BUGS if any(sources[edit.module].count(edit.old) != 1 for edit in bug.edits)]
