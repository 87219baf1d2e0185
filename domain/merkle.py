"""The hash tree of RFC 6962 (section 2.1): SHA-256, a leaf hashed behind 0x00 and an inner node behind 0x01.

A run of leaves whose length is a power of two is a subtree of its own, so a large tree can be kept as runs of equal
length: `fold` makes the root of the runs' roots as it makes those of leaves, and the paths are joined.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

HASH_BYTES = 32
_LEAF, _NODE = b"\x00", b"\x01"


def leaf(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(_LEAF + data).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over leaves' hashes, or over the roots of runs of them; that of no leaves is the hash of nothing."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    level = hashes
    while len(level) > 1:
        level = _above(level)
    return level[0]


def path(hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """What stands beside a leaf on its way to the root, from the leaf upwards."""
    assert 0 <= index < len(hashes), "a path begins at a leaf"
    steps = []
    level = hashes
    while len(level) > 1:
        if index ^ 1 < len(level):
            steps.append(level[index ^ 1])
        level, index = _above(level), index >> 1
    return tuple(steps)


def climb(hashed: bytes, index: int, count: int, steps: Sequence[bytes]) -> bytes | None:
    """The root of a tree of `count` leaves that a leaf and its path lead to; None where they cannot belong to one
    (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < count:
        return None
    here, last, found = index, count - 1, hashed
    for beside in steps:
        if last == 0:
            return None
        if here & 1 or here == last:
            found = _node(beside, found)
            while here and not here & 1:  # it was the last one, with nobody beside it on these levels
                here, last = here >> 1, last >> 1
        else:
            found = _node(found, beside)
        here, last = here >> 1, last >> 1
    return found if last == 0 else None


def _above(level: Sequence[bytes]) -> list[bytes]:
    """The next level: pairs are hashed, a last one without a partner rises as it is."""
    pairs = [_node(level[place], level[place + 1]) for place in range(0, len(level) - 1, 2)]
    return [*pairs, level[-1]] if len(level) % 2 else pairs


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()
