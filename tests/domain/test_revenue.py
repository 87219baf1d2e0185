"""Who gets what of a settled session."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import DOF_MAX, Dof
from domain.revenue import ALL_TO_PLATFORM, Distribution, Shares, distribute, payees, targets
from tests.make import SHARES, STEADY


def test_the_products_split() -> None:  # ruling 5
    assert distribute(Dof(6_000), SHARES) == Distribution(Dof(4_500), Dof(900), Dof(600))
    assert distribute(Dof(1), SHARES) == Distribution(Dof(1), Dof(0), Dof(0))
    assert distribute(Dof(2), SHARES) == Distribution(Dof(2), Dof(0), Dof(0))
    assert distribute(Dof(3), SHARES) == Distribution(Dof(2), Dof(1), Dof(0))
    assert distribute(Dof(0), SHARES) == Distribution()
    assert distribute(Dof(7), ALL_TO_PLATFORM) == Distribution(platform=Dof(7))


def test_equal_remainders_go_to_owner_then_platform_then_creator() -> None:  # T-M04
    assert distribute(Dof(1), Shares(4_000, 2_000, 4_000)) == Distribution(Dof(1), Dof(0), Dof(0))
    assert distribute(Dof(1), Shares(2_000, 4_000, 4_000)) == Distribution(Dof(0), Dof(1), Dof(0))


@pytest.mark.parametrize("bps", [(7_500, 1_500, 999), (7_500, 1_500, 1_001), (-1, 5_001, 5_000), (10_000, 1, -1)])
def test_shares_make_the_whole(bps: tuple[int, int, int]) -> None:  # T-M05
    with pytest.raises(ValueError, match="add up to 10000"):
        Shares(*bps)


@STEADY
@given(st.integers(0, DOF_MAX), st.integers(0, 10_000), st.integers(0, 10_000), st.booleans())
def test_targets_pay_out_exactly_what_was_consumed(units: int, platform: int, creator: int, same: bool) -> None:
    platform, creator = platform // 2, creator // 2
    shared = distribute(Dof(units), Shares(10_000 - platform - creator, platform, creator))
    paid = targets(shared, "usr_o", "usr_o" if same else "usr_c")
    assert sum(share.units for _, share in paid) == units
    assert all(share > Dof(0) for _, share in paid)
    assert len({address for address, _ in paid}) == len(paid)


def test_one_person_gets_one_posting() -> None:  # T-M11
    shared = distribute(Dof(6_000), SHARES)
    assert targets(shared, "usr_o", "usr_o") == (("user:usr_o:earned", Dof(5_100)), ("platform:fees", Dof(900)))
    assert payees(shared, "usr_o", "usr_c") == (("usr_o", Dof(4_500)), ("usr_c", Dof(600)))
    assert payees(distribute(Dof(1), SHARES), "usr_o", "usr_c") == (("usr_o", Dof(1)),)
    assert targets(distribute(Dof(5), ALL_TO_PLATFORM), "usr_o", "usr_o") == (("platform:fees", Dof(5)),)
