"""What is recommended, in which order, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from domain.ids import Kind, derived_id
from domain.listings import Listing, ListingStatus
from domain.money import Dof
from domain.recommendations import LABELS_MAX, Reason, ReasonKind, Taste, Use, recommend, taste_of
from tests.nouns import ADA, EVE, MAX, a_listing


def an_offer(name: str, *games: str, hourly: int = 100, **changes: Any) -> Listing:
    """A listing that has nothing in common with another but what is said."""
    made = a_listing()
    told: dict[str, Any] = {
        "id": derived_id(Kind.LISTING, name),
        "agent_id": derived_id(Kind.AGENT, name),
        "agent_name": name,
        "creator_id": derived_id(Kind.USER, name),
        "owner_id": EVE,
        "games": games,
        "language": name,
        "pricing": replace(made.pricing, hourly=Dof(hourly)),
    }
    return replace(made, **told | changes)


NOVA = an_offer("Nova", "Chess", categories=("Coaching",), language="es-MX", creator_id=ADA)


def shown(candidates: list[Listing], *uses: Use, viewer: str | None = MAX, first: int = 10) -> dict[str, int | None]:
    found = recommend(candidates, taste_of(uses), viewer, first)
    return {each.listing.agent_name: each.score_milli for each in found}


def kinds(candidate: Listing, *uses: Use) -> list[ReasonKind]:
    (found,) = recommend([candidate], taste_of(uses), MAX, 1)
    return [reason.kind for reason in found.why]


def test_every_reason_names_what_it_rests_on() -> None:
    other = an_offer(
        "Rex", "CHESS", categories=("coaching",), language="es-MX", creator_id=ADA, rating_milli=4_000, rating_count=3
    )
    (found,) = recommend([other], taste_of([Use(NOVA, 5), Use(replace(NOVA, id="lst_2"), None)]), MAX, 10)
    prices = (Dof(100), Dof(100))
    assert found.why == (
        Reason(ReasonKind.GAME, "For Chess, as Nova, which you hired.", "Chess", NOVA.agent_id),
        Reason(ReasonKind.CATEGORY, "Coaching, as Nova, which you hired.", "Coaching", NOVA.agent_id),
        Reason(ReasonKind.AGENT, "By the maker of Nova, which you hired.", None, NOVA.agent_id),
        Reason(ReasonKind.LANGUAGE, "It speaks es-MX, as Nova, which you hired.", "es-MX", NOVA.agent_id),
        Reason(ReasonKind.PRICE, "It costs what you paid before.", prices=prices),
    )
    assert found.score_milli == 400 + 200 + 100 + 100 + 100 + 80


@pytest.mark.parametrize(
    ("candidate", "score", "why"),
    [
        (an_offer("a", "Chess"), 500, [ReasonKind.GAME, ReasonKind.PRICE]),
        (an_offer("b", "Chess", hourly=101), 400, [ReasonKind.GAME]),
        (an_offer("c", "Go", categories=("Coaching",)), 300, [ReasonKind.CATEGORY, ReasonKind.PRICE]),
        (an_offer("d", "Go", hourly=99, language="es-MX"), 100, [ReasonKind.LANGUAGE]),
        (an_offer("e", "Go", hourly=99, rating_milli=5_000, rating_count=9), None, [ReasonKind.POPULAR]),
        (an_offer("f", "Chess", hourly=99, rating_milli=5_000, rating_count=2), 400, [ReasonKind.GAME]),
        (an_offer("g", "Chess", hourly=99, rating_milli=5_000, rating_count=3), 500, [ReasonKind.GAME]),
    ],
    ids=lambda value: getattr(value, "agent_name", ""),
)
def test_each_part_is_worth_its_own(candidate: Listing, score: int | None, why: list[ReasonKind]) -> None:
    assert shown([candidate], Use(NOVA)) == {candidate.agent_name: score}
    assert kinds(candidate, Use(NOVA)) == why


def test_what_is_played_most_and_liked_best_comes_first() -> None:
    go = an_offer("Gary", "Go")
    uses = [Use(NOVA, 5), Use(go, 3), Use(replace(go, id="lst_2"), 3)]
    taste = taste_of(uses)
    assert {name: each.weight for name, each in taste.games.items()} == {"chess": 4, "go": 2}
    assert taste.labels == ("category:coaching", "game:chess", "game:go")
    assert shown([an_offer("x", "Go", hourly=1), an_offer("y", "Chess", hourly=1)], *uses) == {"y": 400, "x": 200}


def test_a_bad_rating_speaks_against_what_it_has_in_common() -> None:
    bad = an_offer("Bob", "Chess", hourly=900)
    uses = [Use(NOVA, None), Use(bad, 1)]
    assert taste_of(uses).games == {}
    assert taste_of(uses).prices == (Dof(100), Dof(100))
    assert kinds(an_offer("x", "Chess", hourly=900), *uses) == [ReasonKind.POPULAR]


def test_neither_one_s_own_nor_the_hired_nor_what_is_not_on_offer() -> None:
    hidden = [
        an_offer(status.value, "Chess", status=status) for status in ListingStatus if status is not ListingStatus.ACTIVE
    ]
    mine = [an_offer("o", "Chess", owner_id=MAX), an_offer("c", "Chess", creator_id=MAX)]
    assert shown([*hidden, *mine, NOVA, an_offer("x", "Chess")], Use(NOVA)) == {"x": 500}


def test_a_guest_is_shown_what_others_hire() -> None:
    few, many = an_offer("few", total_hires=1), an_offer("many", total_hires=7)
    found = recommend([few, many, many], Taste(), None, 10)
    assert [(each.listing, each.score_milli, each.why) for each in found] == [
        (many, None, (Reason(ReasonKind.POPULAR, "Players have hired it 7 times.", hires=7),)),
        (few, None, (Reason(ReasonKind.POPULAR, "It is among the most hired on offer.", hires=1),)),
    ]
    assert len(recommend([few, many], Taste(), None, 1)) == 1


def test_the_labels_that_are_looked_for_have_a_bound() -> None:
    uses = [Use(an_offer(f"n{number}", f"Game {number:02}")) for number in range(30)]
    assert taste_of(uses).labels == tuple(f"game:game {number:02}" for number in range(LABELS_MAX))
