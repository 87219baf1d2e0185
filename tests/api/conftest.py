"""A store in this process for each test, and a market on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.api.api import Market, Rig, open_market


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that no rig writes into: its secrets are given, and its documents in memory."""
    return tmp_path_factory.mktemp("rig")


@pytest_asyncio.fixture
async def rig(data: Path) -> AsyncIterator[Rig]:
    """A store in which nothing is."""
    made = Rig(data)
    await made.start()
    yield made
    await made.stop()


@pytest_asyncio.fixture
async def market(rig: Rig) -> Market:
    return await open_market(rig)
