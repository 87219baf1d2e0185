"""Ids: opaque, one per fact, and nothing else passes for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import BadInput
from domain.ids import Kind, derived_id, fingerprint, is_id, kind_of, random_id, require_key
from tests.make import STEADY

ZEROS = "0" * 26
WEIRD = ["", "usr_", "usr_" + ZEROS[1:], f"usr_{ZEROS}0", "usr_" + "i" * 26, f"usr_{ZEROS}\n", f"USR_{ZEROS}"]


@STEADY
@given(st.sampled_from(Kind), st.lists(st.text() | st.integers(), max_size=4))
def test_a_fact_has_one_id_of_its_kind(kind: Kind, fact: list[str | int]) -> None:
    made = derived_id(kind, *fact)
    assert made == derived_id(kind, *fact)
    assert (is_id(made, kind), kind_of(made)) == (True, kind)
    assert [other for other in Kind if is_id(made, other)] == [kind]


def test_parts_do_not_run_together() -> None:
    facts = [("ab", "c"), ("a", "bc"), ("abc",), ("a", "b", "c"), ("abc", ""), ("", "abc")]
    assert len({derived_id(Kind.ENTRY, *fact) for fact in facts}) == len(facts)
    assert derived_id(Kind.ENTRY, "a")[4:] != derived_id(Kind.ORDER, "a")[4:]


def test_an_id_never_changes_with_the_code() -> None:
    # Written once: another value here would enter every old fact a second time.
    assert derived_id(Kind.USER, "identity", "ada") == "usr_wy9z2q0fv9sa8d3jp55cnfhyav"


@pytest.mark.parametrize("text", [*WEIRD, "usr_" + "é" * 26, "usr_" + "0" * 25 + "/"])
def test_anything_else_is_no_id(text: str) -> None:
    assert (is_id(text, Kind.USER), kind_of(text)) == (False, None)


def test_a_shape_of_an_unknown_kind_is_none() -> None:
    assert kind_of("zzz_" + "0" * 26) is None


def test_random_ids_need_entropy() -> None:
    assert random_id(Kind.API_KEY, bytes(17)) == "key_" + "0" * 26
    assert random_id(Kind.API_KEY, b"\xff" * 20) == "key_" + "z" * 26
    with pytest.raises(AssertionError):
        random_id(Kind.API_KEY, bytes(16))


def test_a_fingerprint_tells_inputs_apart() -> None:
    assert fingerprint("a", 1) == fingerprint("a", 1)
    assert len({fingerprint("a", 1), fingerprint("a", "1"), fingerprint("a1"), fingerprint("\ud800")}) == 4


@pytest.mark.parametrize(("key", "right"), [("", False), ("k", True), ("🗝" * 200, True), ("k" * 201, False)])
def test_a_key_has_1_to_200_characters(key: str, right: bool) -> None:
    if right:
        require_key(key)
    else:
        with pytest.raises(BadInput) as refused:
            require_key(key)
        assert refused.value.field == "input.idempotencyKey"
