"""Appeals, reports, and what moderators and admins look through."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from domain.ledger import PLATFORM_FEES, PROMO, available
from domain.reports import A_DAY_MAX
from firestore.collections import AGENTS, LISTINGS, ORDERS, REPORTS, REVIEWS, SESSIONS, USERS
from tests.api.api import Json, Market, Person, calls, codes, outcome
from tests.make import NOW
from tests.nouns import HOUR, SECOND, a_user

APPEAL = """mutation ($input: AppealListingInput!) { appealListing(input: $input) { __typename
    ... on AppealListingPayload { appeal { id state decision text } } ... on Refusal { code } } }"""
DECIDE = """mutation ($input: DecideAppealInput!) { decideAppeal(input: $input) { __typename
    ... on DecideAppealPayload { appeal { state reason } } ... on Refusal { code } } }"""
REPORT = """mutation ($input: ReportInput!) { report(input: $input) { __typename
    ... on ReportPayload { reportId } ... on Refusal { code } } }"""
LISTING = "query ($id: ID!) { listing(id: $id) { status statusReason appeal { state reason } } }"


async def _hold(market: Market, status: str = "SUSPENDED", reason: str = "It lies.") -> None:
    await market.mia.act("moderateListing", {"listingId": market.ids.listing, "status": status, "reason": reason})


async def _decide(market: Market, appeal_id: str, state: str, who: Person | None = None) -> Json:
    asked = {"appealId": appeal_id, "state": state, "reason": "We looked again."}
    return await (who or market.mia).answer(DECIDE, input=asked)


async def test_an_owner_appeals_and_is_heard(market: Market) -> None:
    """Granted, the listing is back and its owner is told; what is appealed against is kept with the appeal."""
    ids, ada = market.ids, market.ada
    await _hold(market)
    asked = {"listingId": ids.listing, "text": "It does not."}
    opened = (await ada.ask(APPEAL, input=asked))["appealListing"]["appeal"]
    assert opened == {"id": opened["id"], "state": "OPEN", "decision": "It lies.", "text": "It does not."}
    assert (await ada.ask(APPEAL, input=asked))["appealListing"]["appeal"] == opened
    async with market.unchanged():
        assert outcome(await ada.answer(APPEAL, input={**asked, "text": "Please."})) == "CONFLICT"
        assert outcome(await market.max.answer(APPEAL, input=asked)) == "NOT_FOUND"
    shown = {"status": "SUSPENDED", "statusReason": "It lies.", "appeal": {"state": "OPEN", "reason": None}}
    assert (await ada.ask(LISTING, id=ids.listing))["listing"] == shown
    market.rig.now += HOUR
    assert outcome(await _decide(market, opened["id"], "GRANTED")) == "+"
    told = {"status": "ACTIVE", "statusReason": "We looked again.", "appeal": None}  # against what stands now is none
    assert (await ada.ask(LISTING, id=ids.listing))["listing"] == told
    assert (await market.eve.ask(LISTING, id=ids.listing))["listing"] == {**told, "statusReason": None}
    await market.rig.drain()
    kept = market.rig.state()["notifications"].values()
    texts = [each.data["text"] for each in kept if each.data["user_id"] == ada.user_id]
    assert {"listing_suspended", "appeal_granted"} <= set(texts)


@pytest.mark.parametrize(
    ("name", "own", "refusal"),
    [("pauseListing", "PAUSED", "NOT_AVAILABLE"), ("unpublishAgent", "UNPUBLISHED", "NOT_FOUND")],
)
@pytest.mark.parametrize("appealed", [False, True])
async def test_a_moderator_puts_nothing_on_the_market(
    market: Market, name: str, own: str, refusal: str, appealed: bool
) -> None:
    """Lifted, a listing is what its owner had made it before the first hold."""
    ids, ada, rig = market.ids, market.ada, market.rig
    await ada.act(name, {"listingId": ids.listing} if name == "pauseListing" else {"agentId": ids.nova})
    await _hold(market, "UNDER_REVIEW", "We look.")
    await _hold(market)
    for refused in ("pauseListing", "resumeListing"):
        assert await ada.refused(refused, {"listingId": ids.listing}) == "CONFLICT"
    await ada.act("updateListing", {"listingId": ids.listing, "title": "A better coach"})
    if appealed:
        asked = {"listingId": ids.listing, "text": "It does not."}
        opened = (await ada.ask(APPEAL, input=asked))["appealListing"]["appeal"]["id"]
        assert outcome(await _decide(market, opened, "GRANTED")) == "+"
    else:
        await _hold(market, "ACTIVE", "We looked again.")
    listing = await rig.get(LISTINGS, ids.listing)
    assert (listing.status, listing.title) == (own, "A better coach")
    assert (await rig.get(AGENTS, ids.nova)).published is (own == "PAUSED")
    assert await market.eve.refused("hireAgent", market.hire()) == refusal
    await rig.drain()
    told = [each.data["text"] for each in rig.state()["notifications"].values() if each.data["user_id"] == ada.user_id]
    assert ("appeal_granted" if appealed else "listing_lifted") in told


async def test_an_agent_given_away_while_it_is_held_back_comes_unpublished(market: Market) -> None:
    """Its new owner has seen neither its texts nor its prices."""
    rig, barred = market.rig, await market.rig.get(LISTINGS, market.ids.barred)
    await market.ada.act("transferAgent", {"agentId": barred.agent_id, "toUserId": market.zoe.user_id})
    assert (await rig.get(LISTINGS, barred.id)).status == "SUSPENDED"
    await market.mia.act("moderateListing", {"listingId": barred.id, "status": "ACTIVE", "reason": "We looked again."})
    lifted = await rig.get(LISTINGS, barred.id)
    assert (lifted.owner_id, lifted.status) == (market.zoe.user_id, "UNPUBLISHED")
    assert not (await rig.get(AGENTS, barred.agent_id)).published
    assert await market.max.refused("hireAgent", {**market.hire(), "listingId": barred.id}) == "NOT_FOUND"


async def _seize(market: Market, who: Person) -> None:
    """All that is judged is somebody's own: nova, its listing, a report on it, a hire of it and an order."""
    rig, ids, own = market.rig, market.ids, who.user_id
    await rig.put(AGENTS, replace(await rig.get(AGENTS, ids.nova), owner_id=own))
    await rig.put(LISTINGS, replace(await rig.get(LISTINGS, ids.listing), owner_id=own))
    await rig.put(REPORTS, replace(await rig.get(REPORTS, ids.report), subject_id=ids.listing))
    await rig.put(SESSIONS, replace(await rig.get(SESSIONS, ids.ended), hirer_id=own))
    await rig.put(ORDERS, replace(await rig.get(ORDERS, ids.order), user_id=own))


async def test_nobody_judges_what_is_their_own(market: Market) -> None:
    """Not the listing that one owns, or made and gave away; nor a report, a badge, a wallet, a hire, an order."""
    await _seize(market, market.root)
    listing = {"listingId": market.ids.listing}
    judged = ("moderateListing", "featureListing", "resolveReport", "refundSession", "approveOrder", "rejectOrder")
    root = {"userId": market.root.user_id}
    changed = {"adjustWallet": root, "awardBadge": root}
    async with market.unchanged():
        for name in (*judged, *changed):
            asked = {**calls(market)[name][1], **changed.get(name, {})}
            assert await market.root.refused(name, asked) == "CONFLICT", name
        of_agent = {**calls(market)["awardBadge"][1], "userId": None, "agentId": market.ids.nova}
        assert await market.root.refused("awardBadge", of_agent) == "CONFLICT"
    made = replace(await market.rig.get(LISTINGS, market.ids.listing), creator_id=market.mia.user_id)
    await market.rig.put(LISTINGS, made)
    async with market.unchanged():
        assert await market.mia.refused("featureListing", {**listing, "featured": False}) == "CONFLICT"
    report = await market.rig.get(REPORTS, market.ids.report)
    for subject_id in (market.mia.user_id, market.ids.review):
        review = await market.rig.get(REVIEWS, market.ids.review)
        await market.rig.put(REVIEWS, replace(review, reviewer_id=market.mia.user_id))
        await market.rig.put(REPORTS, replace(report, subject_id=subject_id))
        async with market.unchanged():
            assert await market.mia.refused("resolveReport", calls(market)["resolveReport"][1]) == "CONFLICT"


async def test_a_granted_appeal_offers_no_agent_that_was_deleted_meanwhile(market: Market) -> None:
    rig, barred = market.rig, await market.rig.get(LISTINGS, market.ids.barred)
    opened = (await market.ada.ask(APPEAL, input={"listingId": barred.id, "text": "No."}))["appealListing"]["appeal"]
    await market.ada.act("deleteAgent", {"id": barred.agent_id})
    assert outcome(await _decide(market, opened["id"], "GRANTED")) == "+"
    assert (await rig.get(LISTINGS, barred.id)).status == "UNPUBLISHED"
    assert await market.max.refused("hireAgent", {**market.hire(), "listingId": barred.id}) == "NOT_FOUND"


async def test_an_appeal_is_heard_once_for_each_decision(market: Market) -> None:
    ids, ada, rig = market.ids, market.ada, market.rig
    await _hold(market)
    asked = {"listingId": ids.listing, "text": "It does not."}
    first = (await ada.ask(APPEAL, input=asked))["appealListing"]["appeal"]["id"]
    assert outcome(await _decide(market, first, "UPHELD")) == "+"
    async with market.unchanged():
        assert outcome(await ada.answer(APPEAL, input={**asked, "text": "Look again."})) == "CONFLICT"
        assert outcome(await _decide(market, first, "GRANTED")) == "CONFLICT"
        assert outcome(await _decide(market, first, "UPHELD")) == "+"
    assert (await rig.get(LISTINGS, ids.listing)).status.value == "SUSPENDED"
    rig.now += HOUR
    await _hold(market, "UNDER_REVIEW", "We look again.")
    second = (await ada.ask(APPEAL, input=asked))["appealListing"]["appeal"]
    assert (second["id"] != first, second["decision"]) == (True, "We look again.")


async def test_granting_lifts_nothing_that_was_decided_since(market: Market) -> None:
    ids, rig = market.ids, market.rig
    await _hold(market)
    asked = {"listingId": ids.listing, "text": "It does not."}
    opened = (await market.ada.ask(APPEAL, input=asked))["appealListing"]["appeal"]["id"]
    rig.now += HOUR
    await _hold(market, reason="It lies again.")
    assert outcome(await _decide(market, opened, "GRANTED")) == "+"
    listing = await rig.get(LISTINGS, ids.listing)
    assert (listing.status.value, listing.status_reason) == ("SUSPENDED", "It lies again.")


async def test_nobody_decides_on_an_appeal_of_ones_own(market: Market) -> None:
    rising = {"userId": market.ada.user_id, "role": "MODERATOR", "reason": "She helps."}
    await market.root.act("setRole", rising, "account { role }")
    assert outcome(await _decide(market, market.ids.appeal, "GRANTED", market.ada)) == "CONFLICT"
    assert outcome(await _decide(market, market.ids.appeal, "OPEN")) == "BAD_USER_INPUT"


async def test_reports_are_bounded_per_day(market: Market) -> None:
    """One open report of each user on each subject, and twenty a day."""
    rig, eve = market.rig, market.eve
    people = [a_user(f"troll {number}") for number in range(A_DAY_MAX + 1)]
    await rig.put(USERS, *people)

    def about(place: int, text: str = "Look.") -> Json:
        return {"subjectId": people[place].id, "reason": "ABUSE", "text": text}

    for place in range(A_DAY_MAX):
        assert outcome(await eve.answer(REPORT, input=about(place))) == "+"
    async with market.unchanged():
        assert outcome(await eve.answer(REPORT, input=about(0))) == "+"  # said again
        assert outcome(await eve.answer(REPORT, input=about(0, "Look there."))) == "CONFLICT"
        error = await eve.error(REPORT, input=about(A_DAY_MAX))
        assert error["extensions"]["code"] == "RATE_LIMITED"
        assert error["extensions"]["retryAfterSeconds"] == 24 * 60 * 60
    rig.now += timedelta(days=1) - SECOND
    assert codes(await eve.answer(REPORT, input=about(A_DAY_MAX))) == ["RATE_LIMITED"]
    rig.now += SECOND
    assert outcome(await eve.answer(REPORT, input=about(A_DAY_MAX))) == "+"


async def test_what_is_not_seen_is_not_reported(market: Market) -> None:
    ids = market.ids
    async with market.unchanged():
        for who, subject, said in (
            (market.eve, ids.hidden_listing, "NOT_FOUND"),
            (market.eve, ids.draft, "NOT_FOUND"),
            (market.eve, ids.running, "NOT_FOUND"),
            (market.eve, "x", "NOT_FOUND"),
            (market.ada, ids.listing, "SELF_DEALING"),
            (market.ada, ids.nova, "SELF_DEALING"),
            (market.max, ids.review, "SELF_DEALING"),
            (market.guest, ids.listing, "UNAUTHENTICATED"),
        ):
            asked = {"subjectId": subject, "reason": "FRAUD", "text": "Look."}
            assert outcome(await who.answer(REPORT, input=asked)) == said, (who.name, subject)
    for subject in (ids.listing, ids.nova, ids.review, market.ada.user_id):
        asked = {"subjectId": subject, "reason": "FRAUD", "text": "Look."}
        assert outcome(await market.eve.answer(REPORT, input=asked)) == "+"


async def test_moderators_work_off_the_reports(market: Market) -> None:
    query = """query ($state: ReportState, $subject: ID) { reports(state: $state, subjectId: $subject, first: 9) {
        nodes { id state action note reporter { displayName } subjectId } } }"""
    asked = {"subjectId": market.ids.listing, "reason": "SPAM", "text": "Look."}
    report_id = (await market.eve.ask(REPORT, input=asked))["report"]["reportId"]
    found = (await market.mia.ask(query, state="OPEN", subject=market.ids.listing))["reports"]["nodes"]
    shown = {"id": report_id, "state": "OPEN", "action": None, "note": None, "reporter": {"displayName": "Eve"}}
    assert found == [{**shown, "subjectId": market.ids.listing}]
    done = {"reportId": report_id, "action": "CONTENT_HELD_BACK", "note": "Taken down."}
    await market.mia.act("resolveReport", done, "report { state action note resolvedAt }")
    assert (await market.mia.ask(query, state="OPEN", subject=market.ids.listing))["reports"]["nodes"] == []
    (told,) = (await market.mia.ask(query, state="RESOLVED", subject=market.ids.listing))["reports"]["nodes"]
    assert (told["action"], told["note"]) == ("CONTENT_HELD_BACK", "Taken down.")
    assert outcome(await market.eve.answer(REPORT, input=asked)) == "+"  # it came back, and so does the report
    (again,) = (await market.mia.ask(query, state="OPEN", subject=market.ids.listing))["reports"]["nodes"]
    assert again["id"] == report_id


async def test_a_hidden_reviews_words_are_its_authors_and_the_moderators(market: Market) -> None:
    """Wherever it is read, and edited too; its rating counts on, its author is told why; restored it is all's again."""
    rig, ids = market.rig, market.ids
    query = """query ($review: ID!, $listing: ID!, $session: ID!) {
        node(id: $review) { ...words } session(id: $session) { review { ...words } }
        listing(id: $listing) { stats { rating ratingCount } featuredReviews { ...words }
            reviews { nodes { ...words } } } }
        fragment words on Review { hidden rating title comment }"""

    async def read(who: Person) -> list[Json]:
        told = await who.ask(query, review=ids.review, listing=ids.listing, session=ids.reviewed)
        listing = told["listing"]
        assert listing["stats"] == {"rating": 5.0, "ratingCount": 1}
        session = told["session"]
        (paged,) = listing["reviews"]["nodes"]
        places = [told["node"], paged, *listing["featuredReviews"]]
        return places if session is None else [*places, session["review"]]

    async def judge(action: str, reason: str) -> None:
        await market.mia.act("moderateReview", {"reviewId": ids.review, "action": action, "reason": reason})

    everybody = (market.guest, market.eve, market.ada, market.max, market.mia, market.root)
    before = {who.name: await read(who) for who in everybody}
    await judge("HIDE", "It insults.")
    await market.max.act("updateReview", {"reviewId": ids.review, "comment": "Good!"})
    insiders = {"hidden": True, "rating": 5, "title": "Fine", "comment": "Good!"}
    bare = {"hidden": True, "rating": 5, "title": None, "comment": ""}
    for who in everybody:
        told = insiders if who in (market.max, market.mia, market.root) else bare
        assert await read(who) == [told] * (len(before[who.name]) - 1), who.name  # no more among the featured
    async with market.unchanged():
        await judge("HIDE", "Once more.")
    await market.max.act("updateReview", {"reviewId": ids.review, "comment": "Good."})
    await judge("RESTORE", "It does not.")
    assert {who.name: await read(who) for who in everybody} == before
    await rig.drain()
    kept = [each.data for each in rig.state()["notifications"].values() if each.data["user_id"] == market.max.user_id]
    told = {each["text"]: each["args"]["reason"] for each in kept if each["text"].startswith("review_")}
    assert told == {"review_hidden": "It insults.", "review_restored": "It does not."}


async def test_moderators_look_through_listings_of_any_status(market: Market) -> None:
    query = "query ($s: ListingStatus) { moderatedListings(status: $s, first: 50) { nodes { id statusReason } } }"
    held = (await market.mia.ask(query, s=None))["moderatedListings"]["nodes"]
    assert market.ids.barred in [each["id"] for each in held]
    assert {each["statusReason"] for each in held} == {"It lies."}
    gone = (await market.mia.ask(query, s="UNPUBLISHED"))["moderatedListings"]["nodes"]
    assert [each["id"] for each in gone] == [market.ids.hidden_listing]


@pytest.mark.parametrize(
    ("given", "said"),
    [("2027-01-01T00:00:00", "Say the time zone of {}"), ("0001-01-01T00:00:00+01:00", "{} lies outside the years")],
)
@pytest.mark.parametrize("end", ["from", "to"])
async def test_the_journal_begins_and_ends_at_moments(market: Market, end: str, given: str, said: str) -> None:
    query = "query ($filter: LedgerFilter) { ledgerEntries(filter: $filter) { nodes { id } } }"
    (error,) = (await market.root.answer(query, filter={end: given}))["errors"]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("BAD_USER_INPUT", f"filter.{end}")
    assert error["message"].startswith(said.format(end))


async def test_an_admin_reads_the_journal(market: Market) -> None:
    """Everybody's in the order of time, a user's newest first; every filter finds what a plain reading finds."""
    query = """query ($filter: LedgerFilter, $first: Int, $after: String) {
        ledgerEntries(filter: $filter, first: $first, after: $after) { pageInfo { hasNextPage endCursor }
        nodes { id at kind userIds postings { source target amount } } } }"""

    async def read(first: int = 3, **wanted: Json) -> list[Json]:
        found: list[Json] = []
        after, more = None, True
        while more:
            page = (await market.root.ask(query, filter=wanted, first=first, after=after))["ledgerEntries"]
            found += page["nodes"]
            after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        return found

    def names(entries: list[Json]) -> list[str]:
        return [each["id"] for each in entries]

    def touches(entry: Json, address: str) -> bool:
        return any(address in (each["source"], each["target"]) for each in entry["postings"])

    whole = await read(100)
    assert len(whole) == len(market.rig.state()["entries"]) > 12
    assert names(whole) == names(sorted(whole, key=lambda each: (each["at"], each["id"])))
    assert names(await read(3)) == names(await read(1)) == names(whole)
    for kind in ("ADJUST", "SETTLE"):
        assert names(await read(kind=kind)) == names([each for each in whole if each["kind"] == kind])
    for address in (PLATFORM_FEES, PROMO):
        assert names(await read(2, address=address)) == names([each for each in whole if touches(each, address)])
    max_ = market.max.user_id
    own = [each for each in whole if max_ in each["userIds"]]
    assert sorted(names(await read(userId=max_))) == sorted(names(own))
    newest = await read(userId=max_)
    assert [each["at"] for each in newest] == sorted((each["at"] for each in newest), reverse=True)
    free = await read(address=available(max_))
    assert sorted(names(free)) == sorted(names([each for each in own if touches(each, available(max_))]))
    late = (NOW - 3 * HOUR).isoformat()
    assert names(await read(**{"from": late})) == names([each for each in whole if each["at"] >= late])
    assert names(await read(to=late)) == names([each for each in whole if each["at"] < late])
    naive = await market.root.error(query, filter={"to": "2026-01-01T00:00:00"})
    assert naive["extensions"]["field"] == "filter.to"
