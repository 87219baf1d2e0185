"""The journal's entries and postings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ledger import Entry, EntryKind, Posting, available, balance, debt, earned, held, user_ids
from domain.money import Dof
from tests.make import NOW, STEADY

ADDRESSES = [available("usr_a"), held("usr_a"), debt("usr_b"), earned("usr_c"), "platform:fees", "world:shopify"]
POSTINGS = st.builds(
    lambda ends, units: Posting(*ends, Dof(units)),
    st.permutations(ADDRESSES).map(lambda order: order[:2]),
    st.integers(1, 10**9),
)


@STEADY
@given(st.lists(POSTINGS, max_size=20).map(tuple))
def test_what_leaves_arrives(postings: tuple[Posting, ...]) -> None:
    assert sum(balance(postings, address) for address in ADDRESSES) == 0


@pytest.mark.parametrize(("target", "units"), [("b", 0), ("b", -1), ("a", 1)])
def test_a_posting_moves_something_somewhere_else(target: str, units: int) -> None:
    with pytest.raises(AssertionError):
        Posting("a", target, Dof(units))


def test_an_entry_moves_something() -> None:
    with pytest.raises(AssertionError):
        Entry("ent_", EntryKind.HOLD, "ses_", "usr_", NOW, ())


def test_the_users_of_an_entry() -> None:
    postings = (Posting(held("usr_b"), earned("usr_a"), Dof(1)), Posting(held("usr_b"), "platform:fees", Dof(1)))
    assert user_ids(postings) == ("usr_a", "usr_b")
    assert [balance(postings, address) for address in (held("usr_b"), earned("usr_a"), "platform:fees")] == [-2, 1, 1]
