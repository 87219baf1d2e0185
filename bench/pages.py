"""What a page costs on a market of 1,000 and of 100,000 listings: `python -m bench.pages [--counts 1000 100000]`.

It fills the project's own Firestore by commits of 500, lets the embedded engine follow it, and opens the first, the
49th and the thousandth page of every order, browsing and searching, through the store's own door. RPCs, documents read
and bytes are exact; milliseconds are this machine's. It fails where a page of the larger market costs more.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import httpx
import structlog
from starlette.applications import Starlette

from domain.errors import Unavailable
from domain.filters import ListingFilter, ListingSort
from domain.search import SearchQuery, read_words
from firestore.backend import Write
from firestore.cloud import CloudBackend
from firestore.collections import LISTINGS, USERS
from graph.connection import Cursors
from main import House
from settings import Settings
from tests.nouns import a_user
from tests.pages import WORD, Cost, Visitor, stall

PAGE = 20
PAGES = (0, 48, 999)  # of 1,000 listings the last but one: more follow, as on every other
COUNT_MAX = 150_000  # a shard of the following holds 10,000 listings, and there are sixteen
COMMIT = 500  # writes in one, Firestore's own bound
FILL_SECONDS = 120.0  # for one of them: a visitor waits two seconds, the filling of a busy machine longer
FOLLOWED_SECONDS_MAX = 900.0


async def measure(count: int) -> dict[tuple[str, ListingSort, int], Cost]:
    """Fill a market of so many, print each page's cost, and give them."""
    with tempfile.TemporaryDirectory() as data:
        house = House(Settings(env="local", data_dir=Path(data), demo=False, firestore_emulator_host=None))
        try:
            return await _measure(house, count)
        finally:
            await house.stop()


async def _measure(house: House, count: int) -> dict[tuple[str, ListingSort, int], Cost]:
    began = time.monotonic()
    assert house.firestore is not None, "the bench has a Firestore of its own"
    filler = CloudBackend(house.settings.project, emulator_host=house.firestore.host, deadline_seconds=FILL_SECONDS)
    await filler.commit([Write(USERS.at(a_user("ada").id), USERS.encode(a_user("ada")))])
    for start in range(0, count, COMMIT):
        part = [stall(number) for number in range(start, min(count, start + COMMIT))]
        await filler.commit([Write(LISTINGS.at(each.id), LISTINGS.encode(each)) for each in part])
    await filler.close()
    filled = time.monotonic()
    print(f"\n{count:,} listings: filled in {filled - began:.0f} s", flush=True)
    score = await _follow(house)
    print(f"  the engine follows after {time.monotonic() - filled:.0f} s", flush=True)
    app = Starlette(routes=house.routes(), middleware=house.sight.middleware())
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inside.test", trust_env=False)
    visitor = Visitor(http, house.backend, Cursors(house.secrets.cursor))
    found: dict[tuple[str, ListingSort, int], Cost] = {}
    print(f"  {'':22} {'page':>5} {'RPCs':>5} {'reads':>6} {'bytes':>7} {'ms':>7}")
    for way in ("listings", "searchListings"):
        for sort in ListingSort:
            for page in (each for each in PAGES if (each + 1) * PAGE <= count):
                started = time.monotonic()
                if way == "listings":
                    cost = await visitor.browse(count, sort, PAGE, page)
                else:
                    cost = await visitor.search(count, sort, PAGE, page, score)
                taken_ms = (time.monotonic() - started) * 1_000
                row = f"{page + 1:>5} {cost.rpcs:>5} {cost.reads:>6} {cost.size_bytes:>7} {taken_ms:>7.0f}"
                print(f"  {way:14} {sort.value:10} {row}", flush=True)
                found[way, sort, page] = cost
    await http.aclose()
    return found


async def _follow(house: House) -> int:
    """Wait until the engine knows all; the score that every hit has."""
    assert house.search_index is not None, "the engine is of this process"
    house.search_index.start()
    asked = SearchQuery(read_words(WORD), ListingFilter(), ListingSort.RELEVANCE, 1)
    async with asyncio.timeout(FOLLOWED_SECONDS_MAX):
        while True:
            try:
                (hit,) = (await house.search.search(asked)).hits
            except Unavailable:
                await asyncio.sleep(0.5)
                continue
            return int(str(hit.place[0]))


async def main(counts: list[int]) -> None:
    costs = [await measure(count) for count in counts]
    first = costs[0]
    for other in costs[1:]:
        for key, cost in first.items():
            assert (cost.rpcs, cost.reads) == (other[key].rpcs, other[key].reads), key
            assert abs(cost.size_bytes - other[key].size_bytes) < 50, key  # of a search, the width of its counts
        deep = {(way, sort): cost for (way, sort, page), cost in other.items() if page == max(PAGES)}
        for (way, sort), cost in deep.items():
            assert (cost.rpcs, cost.reads) == (first[way, sort, 0].rpcs, first[way, sort, 0].reads), (way, sort)
    print("\nEvery page costs the same RPCs and reads, at every size and depth.")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 100_000])
    told = parser.parse_args()
    if not all(PAGE * 50 <= count <= COUNT_MAX for count in told.counts):
        parser.error(f"a market has {PAGE * 50} to {COUNT_MAX} listings")
    asyncio.run(main(told.counts))
