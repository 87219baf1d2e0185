"""What anybody may ask for in a while: the window's arithmetic, and the table."""

from __future__ import annotations

import pytest

from domain.rates import (
    COST_LIMITS,
    MONEY_FIELDS,
    OUTSIDE_FIELDS,
    RATES,
    SEARCH_FIELDS,
    SIGN_IN_FIELDS,
    Caller,
    Rate,
    Window,
    rates_with,
)
from graph.cost import FIELD_READS
from tests.api.api import graph

TEN = Rate("ten", 10, 60)


@pytest.mark.parametrize(
    ("window", "units", "seconds"),
    [
        (Window(0, 0, 0.0), 10, 0),
        (Window(0, 9, 0.5), 1, 0),
        (Window(0, 10, 0.5), 1, 36),  # half a minute to the turn, and a tenth of the next until one has faded
        (Window(10, 0, 0.0), 1, 6),
        (Window(10, 0, 0.1), 1, 0),
        (Window(10, 5, 0.5), 1, 6),  # 5 + 5 is full; a tenth of a window later 4 + 5
        (Window(0, 0, 0.0), 11, 60),  # never fits
        (Window(10, 10, 0.0), 10, 120),
        (Window(10, 10, 0.999), 1, 7),
    ],
)
def test_a_window_says_when_there_is_room_again(window: Window, units: int, seconds: int) -> None:
    assert window.wait_seconds(TEN, units) == seconds
    assert window.has_room(TEN, units) is (seconds == 0)


def test_t_p12_after_the_wait_there_is_room() -> None:
    """Whatever was counted: a client that waits as it was told gets in, and a second earlier mostly would not."""
    for previous in range(11):
        for current in range(11):
            for tenths in range(10):
                window = Window(previous, current, tenths / 10)
                wait = window.wait_seconds(TEN, 1)
                turns = tenths / 10 + wait / 60
                then = {0: window, 1: Window(current, 0, turns - 1)}.get(int(turns), Window(0, 0, 0))
                then = Window(then.previous, then.current, turns % 1) if int(turns) < 2 else then
                assert then.has_room(TEN, 1), (window, wait)


def test_a_deployer_changes_units_by_name_and_nothing_else() -> None:
    changed = rates_with({"money": 7})
    assert changed["money"] == Rate("money", 7, 60, strict=True)
    assert {**changed, "money": RATES["money"]} == dict(RATES)
    with pytest.raises(ValueError, match="no rate 'mony'"):
        rates_with({"mony": 7})
    with pytest.raises(ValueError, match="at least 1"):
        rates_with({"money": 0})


def test_the_table_names_root_fields_that_there_are() -> None:
    schema = graph()
    assert schema.mutation_type is not None
    assert schema.query_type is not None
    assert (SIGN_IN_FIELDS | MONEY_FIELDS | OUTSIDE_FIELDS) - set(schema.mutation_type.fields) == set()
    assert (SEARCH_FIELDS | FIELD_READS.keys()) - set(schema.query_type.fields) == set()


def test_what_guards_money_and_passwords_is_strict_and_what_reads_is_not() -> None:
    strict = {name for name, rate in RATES.items() if rate.strict}
    assert strict == {"money", *(name for name in RATES if name.startswith("sign_in"))}
    assert list(COST_LIMITS) == [Caller.GUEST, Caller.KEY, Caller.USER, Caller.STAFF]
    assert sorted(COST_LIMITS.values()) == list(COST_LIMITS.values())
    assert min(RATES[name].units for name in ("address", "guest", "user")) >= 3 * max(COST_LIMITS.values())
