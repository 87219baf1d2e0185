"""Notifications, devices and webhook endpoints through the public face."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from domain.notification_texts import TEXTS
from firestore.collections import DEVICES
from functions.schedule.rounds import sweep
from tests.api.api import NOW, Market, Person
from tests.client import Client

LIST = """query ($unread: Boolean, $first: Int, $after: String) { viewer { unreadNotifications
    notifications(unreadOnly: $unread, first: $first, after: $after) {
        edges { cursor node { id kind title text read subjectIds createdAt } }
        pageInfo { hasNextPage endCursor } } } }"""
EVENTS = """subscription ($after: String) { events(topics: ["notifications"], after: $after) {
    sequence cursor event { __typename ... on NotificationReceived { notificationId }
    ... on Gap { missedFrom missedTo } } } }"""
ENDPOINT = "endpoint { id url events enabled } secret"


async def listed(person: Person, **asked: Any) -> Any:
    return (await person.ask(LIST, **asked))["viewer"]


async def end(market: Market) -> None:
    await market.max.act("endSession", {"sessionId": market.ids.running, "idempotencyKey": "e"}, "session { id }")
    await market.rig.drain()


async def test_both_hear_of_an_end_each_in_their_language(market: Market) -> None:
    await market.ada.act("updateProfile", {"locale": "de-AT"}, "user { id }")
    for person, title in ((market.max, "Tu sesión ha terminado"), (market.ada, "Eine Buchung von Nova ist vorbei")):
        before = (await listed(person))["unreadNotifications"]
        if person is market.max:
            await end(market)
        found = await listed(person, first=1)
        (edge,) = found["notifications"]["edges"]
        assert (edge["node"]["kind"], edge["node"]["title"], edge["node"]["read"]) == ("SESSIONS", title, False)
        assert market.ids.running in edge["node"]["subjectIds"]
        assert found["unreadNotifications"] == before + (person is market.max)
        assert (await person.ask("query ($id: ID!) { node(id: $id) { __typename id } }", id=edge["node"]["id"])) == {
            "node": {"__typename": "Notification", "id": edge["node"]["id"]}
        }
    assert await market.eve.ask("query ($id: ID!) { node(id: $id) { id } }", id=edge["node"]["id"]) == {"node": None}


@pytest.mark.parametrize("locale", ["", "x", "not a language", "de_DE!", "a" * 100])
async def test_a_locale_is_a_language(market: Market, locale: str) -> None:
    async with market.unchanged():
        error = await market.max.error(
            "mutation ($l: String) { updateProfile(input: {locale: $l}) { __typename } }", l=locale
        )
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("BAD_USER_INPUT", "input.locale")


async def test_marking_some_and_all_as_read(market: Market) -> None:
    await end(market)
    every = (await listed(market.max, first=100))["notifications"]["edges"]
    assert len(every) >= 3
    second, rest = every[1], "notifications { id read } unread"
    marked = await market.max.act("markNotificationsRead", {"ids": [second["node"]["id"]]}, rest)
    assert {**marked, "__typename": None} == {
        "__typename": None,
        "notifications": [{"id": second["node"]["id"], "read": True}],
        "unread": len(every) - 1,
    }
    unread = (await listed(market.max, unread=True))["notifications"]["edges"]
    assert [each["node"]["id"] for each in unread] == [each["node"]["id"] for each in every if each is not second]
    upto = await market.max.act("markNotificationsRead", {"upTo": second["cursor"]}, rest)
    assert (upto["notifications"], upto["unread"]) == ([], 1)
    upto = await market.max.act("markNotificationsRead", {"upTo": unread[0]["cursor"]}, rest)
    assert upto["unread"] == 0
    assert all(each["node"]["read"] for each in (await listed(market.max))["notifications"]["edges"])


@pytest.mark.parametrize("input", [{}, {"ids": [], "upTo": "x"}, {"upTo": "x"}, {"ids": ["ntf_x"] * 101}])
async def test_what_cannot_be_marked(market: Market, input: Any) -> None:
    async with market.unchanged():
        error = await market.max.error(
            "mutation ($i: MarkNotificationsReadInput!) { markNotificationsRead(input: $i) { __typename } }", i=input
        )
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_t_p09_anothers_cursor_marks_nothing(market: Market) -> None:
    cursor = (await listed(market.max))["notifications"]["edges"][0]["cursor"]
    async with market.unchanged():
        error = await market.ada.error(
            "mutation ($c: String) { markNotificationsRead(input: {upTo: $c}) { __typename } }", c=cursor
        )
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_what_comes_is_pushed_and_resumed_without_a_hole(market: Market) -> None:
    async with (
        await market.max.subscribe(EVENTS) as events,
        await market.max.subscribe("subscription { notificationReceived { id title read } }") as received,
    ):
        await events.rest()
        await received.rest()
        await end(market)
        first = (await events.next())["events"]
        pushed = (await received.next())["notificationReceived"]
    assert first["event"] == {"__typename": "NotificationReceived", "notificationId": pushed["id"]}
    assert (pushed["title"], pushed["read"]) == ("Tu sesión ha terminado", False)
    await market.ada.act(
        "transferDof", {"toUserId": market.max.user_id, "amount": 5, "idempotencyKey": "t"}, "transaction { id }"
    )
    await market.rig.drain()
    async with await market.max.subscribe(EVENTS, after=first["cursor"]) as events:
        second = (await events.next())["events"]
    assert second["sequence"] == first["sequence"] + 1
    market.rig.now = NOW + timedelta(days=30)
    for path, data in (await market.rig.dump()).items():
        if path.startswith("outbox/") and f"notifications:{market.max.user_id}" in data["topics"]:  # type: ignore[operator]
            await market.rig.forget(path)
    async with await market.max.subscribe(EVENTS, after=first["cursor"]) as events:
        gap = (await events.next())["events"]["event"]
    assert gap == {"__typename": "Gap", "missedFrom": second["sequence"], "missedTo": second["sequence"]}


async def test_t_z07_only_ones_own_are_pushed(market: Market) -> None:
    async with await market.eve.subscribe(EVENTS) as events:
        await events.rest()
        await end(market)
        assert await events.rest() == []
    assert await (await market.guest.subscribe(EVENTS)).code() == "UNAUTHENTICATED"


async def test_a_device_is_its_last_users(market: Market) -> None:
    device = {"token": "one-phone", "platform": "IOS"}
    first = await market.max.act("registerDevice", device, "device { id platform registeredAt }")
    second = await market.eve.act("registerDevice", device, "device { id platform registeredAt }")
    assert first["device"]["id"] == second["device"]["id"]
    assert (await market.rig.get(DEVICES, second["device"]["id"])).user_id == market.eve.user_id


async def test_mails_go_out_to_those_who_want_them(market: Market) -> None:
    """Gifts of others are told in the app alone, or who sends one DOF at a time fills a mailbox."""
    sent = market.rig.outlets.mail.sent  # type: ignore[attr-defined]
    gift = {"toUserId": market.max.user_id, "amount": 5_000}
    before = len(sent)
    await market.ada.act("transferDof", {**gift, "idempotencyKey": "t"}, "transaction { id }")
    await market.rig.drain()
    assert sent[before:] == []
    wanted = {"notifications": [{"kind": "EARNINGS", "channels": ["IN_APP", "EMAIL"]}]}
    await market.max.act("updatePreferences", wanted, "preferences { showProfile }")
    await market.ada.act("transferDof", {**gift, "idempotencyKey": "u"}, "transaction { id }")
    await market.rig.drain()
    (mail,) = sent[before:]
    assert (mail.to, mail.text) == ("max@jiga.test", "Un jugador te ha enviado 5.000 DOF.\n")


async def test_a_daily_digest_comes_once_at_eight_on_the_users_clock(market: Market) -> None:
    sent = market.rig.outlets.mail.sent  # type: ignore[attr-defined]
    before = len(sent)
    preferences = "preferences { mailRhythm showProfile notifications { kind channels } }"
    assert (await market.max.ask("{ viewer { preferences { mailRhythm } } }"))["viewer"] == {
        "preferences": {"mailRhythm": "AT_ONCE"}
    }
    channels = [{"kind": kind, "channels": ["IN_APP", "EMAIL"]} for kind in ("SESSIONS", "EARNINGS", "PURCHASES")]
    await market.max.act("updateProfile", {"timezone": "Europe/Berlin"}, "user { id }")
    await market.max.act("updatePreferences", {"mailRhythm": "DAILY"}, preferences)
    chosen = await market.max.act("updatePreferences", {"notifications": channels}, preferences)
    assert chosen["preferences"]["mailRhythm"] == "DAILY"  # what is left out stays
    await end(market)
    gift = {"toUserId": market.max.user_id, "amount": 5_000, "idempotencyKey": "t"}
    market.rig.now += timedelta(seconds=1)
    await market.ada.act("transferDof", gift, "transaction { id }")
    await market.rig.drain()
    due = (NOW + timedelta(days=1)).replace(hour=7)  # eight in Berlin
    market.rig.now = due - timedelta(seconds=1)
    await market.rig.drain()
    assert sent[before:] == []
    market.rig.now = due
    await market.rig.drain()
    (mail,) = sent[before:]
    assert (mail.to, mail.subject, mail.text) == (
        "max@jiga.test",
        "Tus novedades en JIGA Store",
        "Esto es lo que hemos reunido para ti, lo más reciente primero:\n\n"
        "- Un jugador te ha enviado 5.000 DOF.\n- Tu sesión con Nova ha terminado: 5 minutos, 510 DOF.\n",
    )
    for days in range(3):  # whatever the sweep asks for again, and however often the clock strikes eight
        market.rig.now = due + timedelta(days=days, minutes=5)
        await sweep(market.rig.store, market.rig.dispatcher, market.rig.now)
        await market.rig.drain()
    assert [each for each in sent[before:] if each.subject == mail.subject] == [mail]


async def test_a_weekly_digest_that_the_queue_lost_is_found_by_the_sweep(market: Market) -> None:
    sent = market.rig.outlets.mail.sent  # type: ignore[attr-defined]
    wanted = {"mailRhythm": "WEEKLY", "notifications": [{"kind": "SESSIONS", "channels": ["EMAIL"]}]}
    await market.max.act("updatePreferences", wanted, "preferences { mailRhythm }")
    await end(market)
    before = len(sent)
    market.rig.queue._heap.clear()  # type: ignore[attr-defined]
    market.rig.queue._queued.clear()  # type: ignore[attr-defined]
    market.rig.now = datetime(2026, 3, 2, 8, 0, 20, tzinfo=UTC)  # the Monday after NOW
    await market.rig.drain()
    assert sent[before:] == []
    assert await sweep(market.rig.store, market.rig.dispatcher, market.rig.now) >= 1
    await market.rig.drain()
    (mail,) = [each for each in sent[before:] if each.subject == "Tus novedades en JIGA Store"]
    assert (mail.to, mail.text.splitlines()[2:]) == (
        "max@jiga.test",
        ["- Tu sesión con Nova ha terminado: 5 minutos, 510 DOF."],
    )


async def test_a_digest_leaves_account_matters_to_a_mail_of_their_own(market: Market) -> None:
    sent = market.rig.outlets.mail.sent  # type: ignore[attr-defined]
    await market.ada.act("updatePreferences", {"mailRhythm": "WEEKLY"}, "preferences { mailRhythm }")
    before = len(sent)
    judged = {"listingId": market.ids.listing, "status": "SUSPENDED", "reason": "It lies."}
    await market.mia.act("moderateListing", judged, "listing { status }")
    await market.rig.drain()
    assert [mail.to for mail in sent[before:]] == ["ada@jiga.test"]


async def test_a_rhythm_is_one_of_three(market: Market) -> None:
    async with market.unchanged():
        error = await market.max.error("mutation { updatePreferences(input: {mailRhythm: HOURLY}) { __typename } }")
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_an_integrator_hears_of_a_hire_and_can_verify_it(market: Market) -> None:
    market.rig.now = NOW  # what is signed is verified without its stamp: the market's clock is not the client's
    url = "https://game.example/hooks"
    made = await market.max.act(
        "createWebhookEndpoint", {"url": url, "events": ["SESSION_STARTED", "SESSION_ENDED"]}, ENDPOINT
    )
    assert made["endpoint"] == {
        "id": made["endpoint"]["id"], "url": url, "events": ["SESSION_ENDED", "SESSION_STARTED"], "enabled": True,
    }  # fmt: skip
    hired = await market.max.act("hireAgent", market.hire("another"), "session { id }")
    await market.rig.drain()
    ((content, headers),) = posted(market, url)
    signature = Webhook(made["secret"]).sign(headers["webhook-id"], NOW, content.decode())
    assert headers["webhook-signature"] == signature
    assert hired["session"]["id"] in content.decode()
    log = await deliveries(market.max)
    assert log == [
        {
            "id": headers["webhook-id"], "event": "SESSION_STARTED", "status": "DELIVERED", "attempts": 1,
            "responseCode": 204, "durationMs": 7, "nextAttemptAt": None,
        }
    ]  # fmt: skip
    again = await market.max.act("replayWebhookDelivery", {"id": headers["webhook-id"]}, "delivery { status attempts }")
    assert again["delivery"] == {"status": "PENDING", "attempts": 0}
    await market.rig.drain()
    assert [told["webhook-id"] for _, told in posted(market, url)] == [headers["webhook-id"]] * 2


def posted(market: Market, url: str) -> list[tuple[bytes, dict[str, str]]]:
    """What an endpoint was posted."""
    return [(content, headers) for to, content, headers in market.rig.outlets.web.posted if to == url]  # type: ignore[attr-defined]


async def deliveries(person: Client) -> Any:
    found = await person.ask(
        "{ viewer { webhookEndpoints { deliveries(first: 5) { nodes"
        " { id event status attempts responseCode durationMs nextAttemptAt } } } } }"
    )
    return found["viewer"]["webhookEndpoints"][0]["deliveries"]["nodes"]


async def test_a_secret_is_shown_once(market: Market) -> None:
    made = await market.max.act(
        "createWebhookEndpoint", {"url": "https://game.example/", "events": ["AGENT_HIRED"]}, ENDPOINT
    )
    shown = await market.max.raw("{ viewer { webhookEndpoints { id url events enabled failingSince createdAt } } }")
    assert made["secret"].startswith("whsec_")
    assert made["secret"] not in shown.text


@pytest.mark.parametrize(
    "url", ["http://game.example/", "https://127.0.0.1/", "https://169.254.169.254/", "https://a/"]
)
async def test_t_p07_an_address_of_ours_is_no_endpoint(market: Market, url: str) -> None:
    async with market.unchanged():
        for query in (
            "mutation ($u: String!) { createWebhookEndpoint(input: {url: $u, events: [AGENT_HIRED]}) { __typename } }",
            "mutation ($u: String!, $id: ID!) { updateWebhookEndpoint(input: {id: $id, url: $u}) { __typename } }",
        ):
            error = await market.ada.error(query, u=url, id=market.ids.endpoint)
            assert (error["extensions"]["code"], error["extensions"]["field"]) == ("BAD_USER_INPUT", "input.url")


async def test_five_endpoints_are_the_most(market: Market) -> None:
    asked = {"url": "https://game.example/", "events": ["AGENT_HIRED"]}
    for _ in range(5):
        await market.max.act("createWebhookEndpoint", asked, ENDPOINT)
    async with market.unchanged():
        assert await market.max.refused("createWebhookEndpoint", asked) == "CONFLICT"


async def test_a_moderators_word_reaches_the_owner_by_app_and_mail(market: Market) -> None:
    judged = {"listingId": market.ids.listing, "status": "SUSPENDED", "reason": "It lies."}
    before = len(market.rig.outlets.mail.sent)  # type: ignore[attr-defined]
    await market.mia.act("moderateListing", judged, "listing { status }")
    await market.rig.drain()
    node = (await listed(market.ada, first=1))["notifications"]["edges"][0]["node"]
    assert node["text"] == "Un moderador ha suspendido el anuncio de Nova: It lies."
    assert [mail.to for mail in market.rig.outlets.mail.sent[before:]] == ["ada@jiga.test"]  # type: ignore[attr-defined]


async def test_a_warning_comes_when_the_hold_is_nearly_used_up(market: Market) -> None:
    market.rig.now = NOW + timedelta(minutes=50)  # it began five minutes before NOW
    assert await sweep(market.rig.store, market.rig.dispatcher, market.rig.now) > 0
    await market.rig.drain()
    edges = (await listed(market.max, first=100))["notifications"]["edges"]
    assert [each["node"]["text"] for each in edges if "terminará" in each["node"]["title"]] == [
        "Quedan 490 DOF para Nova: amplía la sesión para seguir jugando."
    ]


async def test_who_is_given_an_agent_is_told_in_the_app_and_never_in_the_giver_s_words(market: Market) -> None:
    """A mail's subject would carry whatever a stranger calls an agent to whomever that stranger names."""
    await market.rig.drain()
    sent = len(market.rig.outlets.mail.sent)
    given = {"agentId": market.ids.draft, "toUserId": market.zoe.user_id}
    await market.ada.act("transferAgent", given)
    await market.rig.drain()
    assert len(market.rig.outlets.mail.sent) == sent
    told = await market.zoe.ask("{ viewer { notifications(first: 1) { nodes { title text } } } }")
    (note,) = told["viewer"]["notifications"]["nodes"]
    assert (note["title"], "Draft" in note["text"]) == ("Un agente es tuyo", True)
    assert [title for title, _ in TEXTS["agent_received"].values() if "{" in title] == []
