"""The schema as the code makes it today."""

from __future__ import annotations

from functools import cache

from graph.schema import sdl


@cache
def schema_text() -> str:
    """Built once for all the tests of a process."""
    return sdl()
