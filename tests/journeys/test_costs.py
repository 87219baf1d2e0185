"""What each operation costs at the public face: RPCs, serial rounds and writes, whatever a page's size.

The app runs in this process, so that the store's own counting backend can say what one request did.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from firestore.counting import Counts
from main import House, create_app
from settings import Settings
from tests.client import Client
from tests.journeys import market, shop
from tests.journeys.server import SECRET

LISTINGS = 12
CARD = "id title pricing { hourly } stats { rating } agent { name rank } owner { displayName }"
BROWSE = f"""query ($first: Int, $after: String) {{ listings(first: $first, after: $after) {{
    nodes {{ {CARD} }} pageInfo {{ endCursor }} }} }}"""
DETAIL = """query ($id: ID!) { listing(id: $id) { title description pricing { hourly version } stats { totalHires }
    reviews(first: 10) { nodes { rating comment } } } }"""
FULL_DETAIL = """query ($id: ID!) { listing(id: $id) { title agent { name } owner { displayName }
    reviews(first: 10) { nodes { rating reviewer { displayName } } } } }"""
VIEWER = """{ viewer { id email role wallet { available held debt }
    sessions(first: 20) { nodes { id status dofConsumed } } } }"""
SESSION = "session { id dofHeld dofConsumed } wallet { available held }"


class Shop:
    """The app, its guests, and what their requests cost."""

    def __init__(self, house: House, guest: Client) -> None:
        self.house = house
        self.guest = guest

    @contextmanager
    def costs(self, *, rpcs: int, rounds: int, writes: int = 0) -> Any:
        """What the block's requests cost, exactly; the tasks that follow are not in it."""
        with self.house.backend.measure() as counts:
            yield
        assert (counts.rpcs, counts.rounds, counts.writes) == (rpcs, rounds, writes), counts

    async def quiet(self) -> None:
        """Wait until all that follows is done."""
        for _ in range(3):
            await self.house._drain()

    async def whole(self, act: Callable[[], Any]) -> Counts:
        """What a doing costs with all that follows it, by the difference of the process's totals."""
        await self.quiet()
        totals = self.house.backend.totals
        before = totals.rpcs, totals.writes
        await act()
        await self.quiet()
        return Counts(rpcs=totals.rpcs - before[0], writes=totals.writes - before[1])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """A store in this process, with twelve listings."""
    data: Path = tmp_path_factory.mktemp("costs")
    told: dict[str, Any] = {"data_dir": data, "demo": False, "schedule_seconds": 3600, "port": 0}
    app = create_app(Settings(**told, shopify_webhook_secret=SecretStr(SECRET), firestore_emulator_host=None))
    async with app.router.lifespan_context(app), _inside(app, None) as guest:
        owner = await _signed_up(app, guest, "Ada")
        for number in range(LISTINGS):
            await market.offer(owner, hourly=600 + number, name=f"Agent {number}")
        stand = Shop(app.state.house, guest)
        await stand.quiet()
        yield stand


def _inside(app: Any, token: str | None, user_id: str = "") -> Client:
    """A client that reaches the app without a network."""
    client = Client("http://localhost", token, user_id=user_id)
    client.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=client.url)
    return client


async def _signed_up(app: Any, guest: Client, name: str) -> Client:
    signed = await guest.sign_up(name)
    return _inside(app, signed.token, signed.user_id)


async def _player(stand: Shop, name: str, order: int) -> Client:
    """A player with DOF."""
    signed = await stand.guest.sign_up(name)
    assert isinstance(stand.guest.http._transport, httpx.ASGITransport)
    player = _inside(stand.guest.http._transport.app, signed.token, signed.user_id)
    await market.pay(player, order)
    await stand.quiet()
    return player


async def _listing(stand: Shop, place: int = 0) -> str:
    data = await stand.guest.ask("query ($n: Int) { listings(first: $n, sort: NEWEST) { nodes { id } } }", n=LISTINGS)
    return str(data["listings"]["nodes"][place]["id"])


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("first", [1, 5, LISTINGS, 100])
async def test_a_page_of_any_size_is_two_rpcs(stand: Shop, first: int) -> None:
    with stand.costs(rpcs=2, rounds=2):
        page = await stand.guest.ask(BROWSE, first=first)
    assert len(page["listings"]["nodes"]) == min(first, LISTINGS)
    if first < LISTINGS:
        with stand.costs(rpcs=2, rounds=2):
            await stand.guest.ask(BROWSE, first=first, after=page["listings"]["pageInfo"]["endCursor"])


async def test_a_listing_with_its_reviews_is_two_rpcs_at_once(stand: Shop) -> None:
    listing_id = await _listing(stand)
    with stand.costs(rpcs=2, rounds=1):
        await stand.guest.ask(DETAIL, id=listing_id)
    with stand.house.backend.measure() as counts:  # whom it is of and who wrote: read as soon as either is known
        await stand.guest.ask(FULL_DETAIL, id=listing_id)
    assert (counts.rpcs <= 4, counts.rounds <= 2) == (True, True), counts


async def test_the_viewer_with_wallet_and_sessions_is_two_rpcs_at_once(stand: Shop) -> None:
    player = await _player(stand, "Viewer", 4_001)
    with stand.costs(rpcs=2, rounds=1):
        await player.ask(VIEWER)
    with stand.costs(rpcs=2, rounds=2):  # no document holds the sum of what matures
        await player.ask("{ viewer { wallet { available earned } } }")


async def test_a_hire_and_all_that_comes_of_it(stand: Shop) -> None:
    player, listing_id = await _player(stand, "Hirer", 4_002), await _listing(stand)
    asked = {"listingId": listing_id, "unit": "HOUR", "quantity": 1}
    with stand.costs(rpcs=1, rounds=1):
        await player.ask("query ($q: QuoteHireInput!) { quoteHire(input: $q) { total affordable } }", q=asked)
    hire = market.hire(listing_id, "one")
    with stand.costs(rpcs=2, rounds=2, writes=5):  # session, wallet, entry, transaction, and what is told
        hired = await player.act("hireAgent", hire, SESSION)
    session_id = hired["session"]["id"]
    with stand.costs(rpcs=1, rounds=1):  # sent again: nothing is left to write
        await player.act("hireAgent", hire, SESSION)
    usage = {"sessionId": session_id, "sequence": 1, "dof": 5}
    with stand.costs(rpcs=2, rounds=2, writes=3):
        await player.act("recordUsage", usage, "session { dofConsumed }")
    longer = {"sessionId": session_id, "unit": "HOUR", "quantity": 1, "idempotencyKey": "more"}
    with stand.costs(rpcs=2, rounds=2, writes=5):
        await player.act("extendSession", longer, SESSION)
    with stand.costs(rpcs=1, rounds=1):
        await player.ask("query ($id: ID!) { session(id: $id) { status dofConsumed } }", id=session_id)
    ending = {"sessionId": session_id, "idempotencyKey": "end"}
    with stand.costs(rpcs=3, rounds=3, writes=8):  # who may end it is read first
        await player.act("endSession", ending, SESSION)
    await stand.quiet()  # the task that counts the end writes the listing, too
    review = {"sessionId": session_id, "rating": 5, "comment": "Good."}
    with stand.costs(rpcs=3, rounds=3, writes=5):
        await player.act("submitReview", review, "review { id }")


async def test_a_refused_hire_writes_nothing(stand: Shop) -> None:
    player, listing_id = await _player(stand, "Refused", 4_003), await _listing(stand)
    with stand.costs(rpcs=1, rounds=1):
        assert await player.refused("hireAgent", market.hire(listing_id, "late", version=9)) == "PRICE_CHANGED"


async def test_a_purchase_and_its_credit(stand: Shop) -> None:
    player = await _player(stand, "Buyer", 4_004)
    with stand.costs(rpcs=4, rounds=4, writes=2):  # was it begun before, to whom the page belongs, then the commit
        purchase_id = await shop.buy(player, "second")
    order = shop.Order(4_005, purchase_id, player.user_id)
    credit = await stand.whole(lambda: shop.post(player.http, order.told()))
    # Kept and answered with one; read and credited with two. Then, by tasks of their own: told with two, mailed with
    # three.
    assert credit.rpcs == 3 + 5
    assert (await player.wallet())["available"] == 2 * shop.BRONZE_DOF
    again = await stand.whole(lambda: shop.post(player.http, order.told()))
    assert (again.rpcs, again.writes) == (2, 0)
    with stand.costs(rpcs=0, rounds=0):
        assert (await shop.post(player.http, order.told(), signature="no")).status_code == 401


async def test_two_trades_share_no_document(stand: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a wallet of the platform's, nor a counter, nor a head of the journal is written by everybody."""
    players = [await _player(stand, name, 4_010 + number) for number, name in enumerate(("Left", "Right"))]
    assert isinstance(stand.guest.http._transport, httpx.ASGITransport)
    other = await _signed_up(stand.guest.http._transport.app, stand.guest, "Bo")
    places = [await _listing(stand), await market.offer(other)]
    await stand.quiet()
    written: list[set[str]] = []
    backend, commit = type(stand.house.backend), stand.house.backend.commit

    async def noting(writes: Any) -> Any:
        written[-1] |= {write.path for write in writes}
        return await commit(writes)

    monkeypatch.setattr(backend, "commit", lambda _, writes: noting(writes))
    for player, listing_id in zip(players, places, strict=True):
        written.append(set())
        await market.pay(player, 4_020 + len(written))
        hired = await player.act("hireAgent", market.hire(listing_id, "apart"), SESSION)
        session_id = hired["session"]["id"]
        await player.act("endSession", {"sessionId": session_id, "idempotencyKey": "end"}, SESSION)
        await player.act("submitReview", {"sessionId": session_id, "rating": 5, "comment": "Good."}, "review { id }")
        await stand.quiet()
    assert [len(each) > 20 for each in written] == [True, True]
    assert written[0] & written[1] == set()
