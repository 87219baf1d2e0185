"""Badges, achievements, experience and versions at the public face."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from domain.progress import Progression
from firestore.collections import ACTS, USERS
from settings import Settings, SettingsError, read_policy
from tests.api.api import BADGE, Market, call, codes, outcome
from tests.make import NOW

RULES = read_policy(Settings(env="local")).progression
EARNED = "badge { id name game tier hoursRequired } awardedAt reason"
CHESS = ["Chess Apprentice", "Chess Adept", "Chess Master", "Chess Legend"]
"""max has played nova for three weeks: each of these is reached."""


async def test_a_player_and_an_agent_have_what_their_hours_are_worth(market: Market) -> None:
    mine = await market.max.ask(f"{{ viewer {{ badges {{ {EARNED} }} }} }}")
    assert sorted(each["badge"]["name"] for each in mine["viewer"]["badges"]) == sorted(CHESS)
    assert {each["reason"] for each in mine["viewer"]["badges"]} == {None}
    learned = "experience { game hours title level lastUsedAt }"
    query = f"query ($id: ID!) {{ agent(id: $id) {{ badges {{ {EARNED} }} {learned} }} }}"
    told = (await market.guest.ask(query, id=market.ids.nova))["agent"]
    assert sorted(each["badge"]["name"] for each in told["badges"]) == sorted([*CHESS, "Valorant Apprentice"])
    assert told["badges"][0]["reason"] == "It won the cup."
    assert told["badges"][0]["badge"]["id"] == BADGE
    assert told["experience"] == [
        {"game": "Chess", "hours": 504, "title": "Expert", "level": 4, "lastUsedAt": "2026-03-01T10:01:30+00:00"}
    ]
    assert (await market.eve.ask("{ viewer { badges { awardedAt } } }"))["viewer"]["badges"] == []


async def test_the_achievements_show_how_far_one_is(market: Market) -> None:
    query = "{ viewer { achievements { id name description current target achievedAt } } }"
    told = {each["id"]: each for each in (await market.max.ask(query))["viewer"]["achievements"]}
    assert list(told) == [rule.key for rule in RULES.achievements]
    assert {name: (each["current"], each["target"]) for name, each in told.items() if each["current"]} == {
        "first-hire": (1, 1),
        "ten-hires": (2, 10),
        "hundred-hours": (100, 100),
        "first-review": (1, 1),
        "ten-reviews": (1, 10),
    }
    assert [name for name, each in told.items() if each["achievedAt"]] == [
        "first-hire",
        "hundred-hours",
        "first-review",
    ]
    owner = {each["id"]: each for each in (await market.ada.ask(query))["viewer"]["achievements"]}
    reached = {name for name, each in owner.items() if each["achievedAt"]}
    assert reached == {"first-publish", "first-sale"}
    fresh = (await market.zoe.ask(query))["viewer"]["achievements"]
    assert {(each["current"], each["achievedAt"]) for each in fresh} == {(0, None)}


async def test_others_see_badges_only_where_the_user_lets_them(market: Market) -> None:
    query = "query ($id: ID!) { user(id: $id) { badges { badge { name } } } }"
    everybody = (market.guest, market.eve, market.max, market.mia)
    seen = [len((await each.ask(query, id=market.max.user_id))["user"]["badges"]) for each in everybody]
    assert seen == [4, 4, 4, 4]
    await market.max.act("updatePreferences", {"showBadges": False}, "preferences { showBadges }")
    seen = [len((await each.ask(query, id=market.max.user_id))["user"]["badges"]) for each in everybody]
    assert seen == [0, 0, 4, 4]  # oneself and a moderator see them still


async def test_the_catalogue_of_badges_is_read_in_pages(market: Market) -> None:
    query = """query ($game: String, $first: Int, $after: String) { badges(game: $game, first: $first, after: $after) {
        nodes { id name game criteria totalAwarded } pageInfo { hasNextPage hasPreviousPage endCursor } } }"""
    names: list[str] = []
    after = None
    for _ in range(20):
        page = (await market.guest.ask(query, first=5, after=after))["badges"]
        names += [each["name"] for each in page["nodes"]]
        assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert names == [rule.name for rule in RULES.badges]
    chess = (await market.guest.ask(query, game=" CHESS"))["badges"]
    assert [each["name"] for each in chess["nodes"]] == CHESS
    assert [each["totalAwarded"] for each in chess["nodes"]] == [2, 2, 2, 2]  # max, and nova
    assert chess["pageInfo"]["hasNextPage"] is False
    assert (await market.guest.ask(query, game="Poker"))["badges"]["nodes"] == []
    assert codes(await market.guest.answer(query, first=101)) == ["BAD_USER_INPUT"]
    other = (await market.guest.ask(query, game="Chess", first=1))["badges"]["pageInfo"]["endCursor"]
    assert codes(await market.guest.answer(query, after=other)) == ["BAD_USER_INPUT"]


async def test_an_award_is_for_one_user_or_one_agent(market: Market) -> None:
    award = {"badgeId": BADGE, "reason": "They helped."}
    for subjects in ({}, {"userId": market.max.user_id, "agentId": market.ids.nova}):
        async with market.unchanged():
            assert codes(await call(market.mia, "awardBadge", {**award, **subjects})) == ["BAD_USER_INPUT"]
    async with market.unchanged():
        for subject in ({"userId": market.ids.nova}, {"agentId": market.max.user_id}):
            assert outcome(await call(market.mia, "awardBadge", {**award, **subject})) == "NOT_FOUND"
    nobody = replace(await market.rig.get(USERS, market.zoe.user_id), erased_at=NOW)
    await market.rig.put(USERS, nobody)
    async with market.unchanged():
        gone = {**award, "userId": nobody.id}
        assert outcome(await call(market.mia, "awardBadge", gone)) == "NOT_FOUND"
        given = {"userId": nobody.id, "amount": 5, "reason": "Sorry.", "idempotencyKey": "late"}
        assert outcome(await call(market.root, "adjustWallet", given)) == "NOT_FOUND"
    told = await market.mia.act("awardBadge", {**award, "userId": market.max.user_id}, f"badge {{ {EARNED} }}")
    assert (told["badge"]["reason"], told["badge"]["badge"]["id"]) == ("They helped.", BADGE)
    acts = [path for path in await market.rig.dump() if path.startswith(ACTS.name)]
    async with market.unchanged():
        again = await market.root.act(
            "awardBadge", {**award, "reason": "Again.", "userId": market.max.user_id}, f"badge {{ {EARNED} }}"
        )
        assert again == told
    assert len([path for path in await market.rig.dump() if path.startswith(ACTS.name)]) == len(acts)


async def test_a_version_says_what_it_changed(market: Market) -> None:
    query = """query ($id: ID!, $first: Int, $against: Int) { agent(id: $id) { versions(first: $first) { nodes {
        version changes diff { field before after } against: diff(against: $against) { field } } } } }"""
    told = (await market.ada.ask(query, id=market.ids.draft, against=1))["agent"]["versions"]["nodes"]
    model = {"field": "primary.model", "before": "gpt-4.1-mini", "after": "gpt-4.1"}
    back = {"field": "primary.model", "before": "gpt-4.1", "after": "gpt-4.1-mini"}
    assert [(each["version"], each["diff"]) for each in told] == [(3, [back]), (2, [model]), (1, [])]
    assert [each["against"] for each in told] == [[], [{"field": "primary.model"}], []]
    for first in (1, 2):  # the last of a page finds the one before it, too
        cut = (await market.ada.ask(query, id=market.ids.draft, first=first, against=1))["agent"]["versions"]["nodes"]
        assert cut == told[:first]
    with market.rig.backend.measure() as whole:
        await market.ada.ask(query, id=market.ids.draft, against=1)
    assert whole.rpcs <= 4, whole
    for missing in (9, 0, -1, 2**31 - 1):
        answer = await market.ada.answer(query, id=market.ids.draft, against=missing)
        assert set(codes(answer)) == {"NOT_FOUND"}


@pytest.mark.parametrize(
    "rows",
    [
        '[[badges]]\nkey = "a"\nname = "A"\ngame = "Chess"\nhours_required = 1\ncriteria = "c"\ntier = "WOOD"\n',
        2 * '[[badges]]\nkey = "a"\nname = "A"\ngame = "Chess"\nhours_required = 1\ncriteria = "c"\ntier = "GOLD"\n',
        '[[achievements]]\nkey = "a"\nname = "A"\ndescription = "d"\nmetric = "LUCK"\ntarget = 1\n',
        '[[levels]]\ntitle = "B"\nhours = 2\n[[levels]]\ntitle = "A"\nhours = 1\n',
        '[[ranks]]\nrank = "GOLD"\nhours = 1\n',
        51 * '[[legal]]\nname = "a"\nversion = "1"\ntitle = "A"\n',
    ],
)
def test_rules_that_make_no_sense_do_not_start(rows: str, tmp_path: Path) -> None:
    tables, path = Settings(env="local").catalogue.read_text("utf-8"), tmp_path / "catalogue.toml"
    plain = tables[: tables.index("[[badges]]")]
    path.write_text(plain + rows, "utf-8")
    with pytest.raises(SettingsError, match="catalogue"):
        read_policy(Settings(env="local", catalogue=path))
    path.write_text(plain, "utf-8")
    assert read_policy(Settings(env="local", catalogue=path)).progression == Progression(
        five_stars_milli=5_000, five_stars_ratings=1
    )
