"""The hash tree against RFC 6962's own recursive definition, and every single lie about a path."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import merkle
from tests.make import STEADY

SIZES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100]


def leaves(count: int) -> list[bytes]:
    return [merkle.leaf(str(number).encode()) for number in range(count)]


def told_root(hashes: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    cut = told_cut(len(hashes))
    return hashlib.sha256(b"\x01" + told_root(hashes[:cut]) + told_root(hashes[cut:])).digest()


def told_path(hashes: list[bytes], index: int) -> list[bytes]:
    """RFC 6962, section 2.1.1, word for word."""
    if len(hashes) == 1:
        return []
    cut = told_cut(len(hashes))
    if index < cut:
        return [*told_path(hashes[:cut], index), told_root(hashes[cut:])]
    return [*told_path(hashes[cut:], index - cut), told_root(hashes[:cut])]


def told_cut(count: int) -> int:
    """The largest power of two below the count."""
    return 1 << (count - 1).bit_length() - 1


def test_a_leaf_is_hashed_behind_its_own_prefix() -> None:
    assert merkle.leaf(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle.fold([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("count", SIZES)
def test_root_and_paths_are_those_of_the_rfc(count: int) -> None:
    hashes = leaves(count)
    assert merkle.fold(hashes) == told_root(hashes)
    for index in range(count):
        steps = merkle.path(hashes, index)
        assert list(steps) == told_path(hashes, index)
        assert merkle.climb(hashes[index], index, count, steps) == told_root(hashes)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 9, 16, 23, 64, 65])
@pytest.mark.parametrize("length", [1, 2, 4, 8])
def test_runs_of_equal_length_make_the_same_tree(count: int, length: int) -> None:
    """A day is kept in runs: their roots fold into its root, and the two parts of a path are one."""
    hashes = leaves(count)
    runs = [hashes[start : start + length] for start in range(0, count, length)]
    roots = [merkle.fold(run) for run in runs]
    assert merkle.fold(roots) == merkle.fold(hashes)
    for index in range(count):
        number, inside = divmod(index, length)
        joined = (*merkle.path(runs[number], inside), *merkle.path(roots, number))
        assert joined == merkle.path(hashes, index)


@STEADY
@given(st.data())
def test_one_lie_about_a_path_is_found(data: Any) -> None:
    """Another leaf, another place or count, a step that is changed, missing or doubled: another root, or none."""
    count = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, count - 1))
    hashes = leaves(count)
    root, steps = merkle.fold(hashes), list(merkle.path(hashes, index))
    lies: list[tuple[bytes, int, int, list[bytes]]] = [
        (merkle.leaf(b"other"), index, count, steps),
        (hashes[index], index, count, [*steps, root]),
        (hashes[index], count, count, steps),
        (hashes[index], -1, count, steps),
        (hashes[index], index, 0, steps),
    ]
    lies += [(hashes[index], other, count, steps) for other in range(count) if other != index]
    for number, step in enumerate(steps):
        bit = data.draw(st.integers(0, 255))
        flipped = bytes(byte ^ (1 << bit % 8 if place == bit // 8 else 0) for place, byte in enumerate(step))
        rest = steps[number + 1 :]
        lies.append((hashes[index], index, count, [*steps[:number], flipped, *rest]))
        lies.append((hashes[index], index, count, [*steps[:number], *rest]))
        lies.append((hashes[index], index, count, [*steps[:number], step, step, *rest]))
    for leaf, place, size, path in lies:
        assert merkle.climb(leaf, place, size, path) != root


def test_a_node_is_no_leaf() -> None:
    """Two hashes that are told as an entry's bytes lead nowhere: the prefixes differ."""
    left, right = leaves(2)
    assert merkle.leaf(left + right) != merkle.fold([left, right])
    assert merkle.climb(merkle.fold([left, right]), 0, 1, []) == merkle.fold([left, right])
