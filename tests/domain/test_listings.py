"""Listings: publishing, prices, status, figures, and what a search asks of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain import listings, moderation
from domain.agents import AgentType, Rank, SpecialistType, Specialization
from domain.errors import BadInput, Conflict, NotFound, NotPublishable
from domain.filters import ListingFilter, require_filter
from domain.ids import Kind, derived_id
from domain.listings import Listing, ListingChange, ListingStatus, Seller, Tally, visible_to
from domain.money import Dof
from domain.pricing import Pricing
from domain.users import Role, User, Viewer
from tests.nouns import ADA, CATALOGUE, HOUR, MAX, NOW, a_listing, a_user, a_wish, an_agent, an_offer

LATER = NOW + HOUR
SPECIALIST = a_wish(
    type=AgentType.SPECIALIST,
    specialization=Specialization(("Valorant", "Apex  Legends"), "aim", SpecialistType.TRAINED),
)


def publish(before: Listing | None, owner: User | None, **offer: object) -> Listing:
    return listings.publish(before, an_agent(), owner, an_offer(**offer), catalogue=CATALOGUE, now=LATER)


def test_an_agent_has_one_listing_that_copies_its_facts() -> None:
    agent = an_agent(wish=SPECIALIST)
    listing = a_listing(agent, an_offer(tags=("FPS", "fps", "Aim"), categories=("Coach",)))
    assert listing.id == derived_id(Kind.LISTING, agent.id)
    assert (listing.status, listing.version, listing.pricing) == (
        ListingStatus.ACTIVE,
        1,
        Pricing(Dof(100), Dof(2_000), Dof(10_000), 1),
    )
    assert (listing.tags, listing.games) == (("FPS", "Aim"), ("Valorant", "Apex Legends"))
    assert listing.labels == ("game:valorant", "game:apex legends", "category:coach", "tag:fps", "tag:aim")
    assert (listing.rating, listing.success_rate, listing.total_hires) == (None, None, 0)


def test_publishing_again_keeps_figures_and_never_lowers_the_price_version() -> None:
    before = a_listing(
        status=ListingStatus.UNPUBLISHED, total_hires=7, rating_sum=9, rating_count=2, rating_milli=4_500
    )
    same = publish(before, a_user())
    assert same == replace(before, status=ListingStatus.ACTIVE, version=2, updated_at=LATER)
    assert same.pricing.version == 1
    dearer = publish(same, a_user(), hourly=101)
    back = publish(dearer, a_user())
    assert [dearer.pricing.version, back.pricing.version] == [2, 3]
    assert publish(back, a_user()) is back


def test_what_cannot_be_published() -> None:
    for owner in (None, a_user(suspended_at=NOW)):
        with pytest.raises(NotPublishable, match="suspended"):
            publish(None, owner)
    for status in (ListingStatus.SUSPENDED, ListingStatus.UNDER_REVIEW):
        with pytest.raises(NotPublishable, match="moderator"):
            publish(a_listing(status=status), a_user())
    broken = an_agent(has_voice_chat=True)
    with pytest.raises(NotPublishable, match=r"configuration\.voiceId"):
        listings.publish(None, broken, a_user(), an_offer(), catalogue=CATALOGUE, now=NOW)


@pytest.mark.parametrize(
    ("offer", "field"),
    [
        ({"title": " "}, "input.title"),
        ({"title": "x" * 121}, "input.title"),
        ({"description": ""}, "input.description"),
        ({"tags": tuple(f"t{number}" for number in range(11))}, "input.tags"),
        ({"tags": ("x" * 41,)}, "input.tags"),
        ({"categories": tuple(f"c{number}" for number in range(6))}, "input.categories"),
        ({"hourly": 0}, "input.pricing.hourly"),
        ({"weekly": -1}, "input.pricing.weekly"),
        ({"daily": 10**9 + 1}, "input.pricing.daily"),
    ],
)
def test_a_malformed_offer_names_its_field(offer: dict[str, object], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        publish(None, a_user(), **offer)
    assert caught.value.field == field


def test_a_change_names_what_it_changes_and_new_prices_a_version() -> None:
    listing = a_listing(offer=an_offer(tags=("a",)))
    titled = listings.change(listing, ListingChange(title="Trainer", tags=("B",)), LATER)
    assert (titled.title, titled.tags, titled.labels, titled.version) == ("Trainer", ("B",), ("tag:b",), 2)
    assert titled.pricing == listing.pricing
    dearer = listings.change(titled, ListingChange(daily=2_500), LATER)
    assert dearer.pricing == Pricing(Dof(100), Dof(2_500), Dof(10_000), 2)
    assert listings.change(dearer, ListingChange(daily=2_500, title="Trainer"), LATER + HOUR) is dearer


def test_a_listing_follows_its_agent() -> None:
    listing = a_listing(offer=an_offer(tags=("a",)))
    agent = replace(an_agent(wish=SPECIALIST), name="Nova 2", owner_id=MAX, rank=Rank.GOLD, language="en")
    followed = listings.follow(listing, agent, LATER)
    assert (followed.agent_name, followed.owner_id, followed.creator_id) == ("Nova 2", MAX, ADA)
    assert (followed.rank, followed.type, followed.language) == (Rank.GOLD, AgentType.SPECIALIST, "en")
    assert followed.labels == ("game:valorant", "game:apex legends", "tag:a")
    assert listings.follow(followed, agent, LATER + HOUR) is followed


def test_what_the_owner_may_do_in_each_status() -> None:
    active = a_listing()
    paused = listings.pause(active, LATER)
    assert (paused.status, paused.version) == (ListingStatus.PAUSED, 2)
    assert listings.pause(paused, LATER) is paused
    assert listings.resume(paused, LATER).status is ListingStatus.ACTIVE
    gone = listings.unpublish(paused, LATER)
    assert gone.status is ListingStatus.UNPUBLISHED
    assert listings.unpublish(gone, LATER) is gone
    for act in (listings.pause, listings.resume):
        for status in (ListingStatus.UNPUBLISHED, ListingStatus.SUSPENDED, ListingStatus.UNDER_REVIEW):
            way = "publishAgent" if status is ListingStatus.UNPUBLISHED else "appealListing"
            with pytest.raises(Conflict, match=f"use {way}"):
                act(a_listing(status=status), LATER)
    for status in (ListingStatus.SUSPENDED, ListingStatus.UNDER_REVIEW):
        held = a_listing(status=status)
        with pytest.raises(Conflict):
            listings.unpublish(held, LATER)


def test_what_a_moderator_may_do() -> None:
    held = moderation.moderate(a_listing(), ListingStatus.SUSPENDED, "stolen art", LATER)
    assert (held.status, held.status_reason, held.version) == (ListingStatus.SUSPENDED, "stolen art", 2)
    assert moderation.moderate(held, ListingStatus.SUSPENDED, "stolen art", LATER + HOUR) is held
    lifted = moderation.moderate(held, ListingStatus.ACTIVE, "appeal granted", LATER)
    assert lifted.status is ListingStatus.ACTIVE
    hidden = moderation.moderate(a_listing(status=ListingStatus.UNPUBLISHED), ListingStatus.UNDER_REVIEW, "look", LATER)
    assert hidden.status is ListingStatus.UNDER_REVIEW
    assert moderation.moderate(lifted, ListingStatus.ACTIVE, "appeal granted", LATER + HOUR) is lifted
    for status in (ListingStatus.PAUSED, ListingStatus.UNPUBLISHED):
        with pytest.raises(Conflict):
            moderation.moderate(a_listing(status=status), ListingStatus.ACTIVE, "go", LATER)
        with pytest.raises(BadInput):
            moderation.moderate(a_listing(), status, "go", LATER)
    assert moderation.feature(a_listing(), True, LATER).featured
    assert moderation.feature(held, False, LATER) is held
    with pytest.raises(Conflict):
        moderation.feature(held, True, LATER)


@pytest.mark.parametrize("own", [ListingStatus.ACTIVE, ListingStatus.PAUSED, ListingStatus.UNPUBLISHED])
def test_a_lifted_listing_is_what_its_owner_had_made_it(own: ListingStatus) -> None:
    """However often it was held back meanwhile, and whether or not its owner was suspended in between."""
    judge = moderation.moderate
    held = judge(a_listing(status=own), ListingStatus.UNDER_REVIEW, "look", LATER)
    harder = judge(held, ListingStatus.SUSPENDED, "stolen art", LATER)
    lifted = judge(harder, ListingStatus.ACTIVE, "sorry", LATER)
    assert (lifted.status, lifted.held_from, lifted.status_reason) == (own, None, "sorry")
    assert judge(lifted, ListingStatus.ACTIVE, "sorry", LATER + HOUR) is lifted
    shelved = moderation.shelve(harder, LATER)
    assert moderation.unshelve(judge(shelved, ListingStatus.ACTIVE, "sorry", LATER), LATER).status is own
    inside = judge(moderation.shelve(a_listing(status=own), LATER), ListingStatus.SUSPENDED, "stolen art", LATER)
    back = moderation.unshelve(inside, LATER)
    assert (back.status, judge(back, ListingStatus.ACTIVE, "sorry", LATER).status) == (ListingStatus.SUSPENDED, own)


def test_what_is_withdrawn_comes_back_by_no_lift() -> None:
    active, withdraw = a_listing(), moderation.withdraw
    gone = withdraw(active, LATER)
    assert (gone.status, gone.held_from) == (ListingStatus.UNPUBLISHED, None)
    held = moderation.moderate(active, ListingStatus.SUSPENDED, "stolen art", LATER)
    withdrawn = withdraw(held, LATER)
    assert withdrawn.status is ListingStatus.SUSPENDED
    assert withdraw(withdrawn, LATER + HOUR) is withdrawn
    assert moderation.moderate(withdrawn, ListingStatus.ACTIVE, "sorry", LATER).status is ListingStatus.UNPUBLISHED
    shelved = withdraw(moderation.shelve(active, LATER), LATER)
    assert shelved.status is ListingStatus.SUSPENDED
    assert moderation.unshelve(shelved, LATER).status is ListingStatus.UNPUBLISHED
    both = moderation.unshelve(withdraw(moderation.shelve(held, LATER), LATER), LATER)
    assert both.status is ListingStatus.SUSPENDED
    assert moderation.moderate(both, ListingStatus.ACTIVE, "sorry", LATER).status is ListingStatus.UNPUBLISHED


def test_who_sees_a_listing() -> None:
    viewers = [None, Viewer(MAX), Viewer(ADA), Viewer(MAX, Role.MODERATOR)]
    for status in ListingStatus:
        public = status in (ListingStatus.ACTIVE, ListingStatus.PAUSED)
        seen = [visible_to(a_listing(status=status), viewer) for viewer in viewers]
        assert seen == [public, public, True, True]
    for listing, viewer_id in ((None, ADA), (a_listing(), MAX)):
        with pytest.raises(NotFound):
            listings.require_owned(listing, viewer_id)


def test_ratings_are_sums_and_counts() -> None:
    listing, seller = a_listing(), Seller(ADA)
    for before, rating in ((None, 5), (None, 4), (None, 5), (4, 1)):
        listing, seller = listings.rate(listing, before, rating), listings.rate_seller(seller, before, rating)
    assert (listing.rating_sum, listing.rating_count, listing.rating_milli) == (11, 3, 3_666)
    assert seller == Seller(ADA, 0, 11, 3)
    assert listing.rating == seller.average_rating == 11 / 3


def test_a_session_is_counted_once_in_any_order() -> None:
    start = (a_listing(), Seller(ADA), Tally("ses_1"))
    hired = listings.count_hire(*listings.count_hire(*start))
    assert (hired[0].total_hires, hired[0].active_hires, hired[1].total_hires) == (1, 1, 1)
    ended = listings.count_end(*listings.count_end(*hired, successful=True), successful=True)
    at_once = listings.count_end(*start, successful=True)
    assert ended == at_once == listings.count_hire(*at_once)
    assert (ended[0].total_hires, ended[0].active_hires, ended[0].ended_hires, ended[0].success_rate) == (1, 0, 1, 1.0)
    failed = listings.count_end(*start, successful=False)
    assert (failed[0].ended_hires, failed[0].successful_hires, failed[2]) == (1, 0, Tally("ses_1", True, True))


# ---- filters


def test_a_filter_asks_only_what_is_said() -> None:
    nothing = require_filter(game=" ", tags=(), ranks=tuple(Rank))
    assert nothing == ListingFilter()
    assert nothing.matches(a_listing())
    asked = require_filter(game="VALORANT", category="Coach", tags=("Aim", "AIM"), language="ES-mx", min_rating=4.5)
    assert asked == ListingFilter(
        game="game:valorant", category="category:coach", tags=("tag:aim",), language="es-MX", min_rating_milli=4_500
    )


def test_a_listing_matches_all_that_is_asked() -> None:
    listing = replace(
        a_listing(an_agent(wish=SPECIALIST), an_offer(tags=("FPS", "Aim"), categories=("Coach",))), rating_milli=4_500
    )
    yes = [
        {"game": "apex legends", "category": "COACH", "tags": ("x", "fps")},
        {"ranks": (Rank.BRONZE, Rank.GOLD), "type": AgentType.SPECIALIST, "language": "es-MX"},
        {"has_voice_chat": False, "has_memory": False, "owner_id": ADA},
        {"min_price": Dof(100), "max_price": Dof(100), "min_rating": 4.5},
    ]
    no = [
        {"game": "Apex"},
        {"category": "aim"},
        {"tags": ("x",)},
        {"ranks": (Rank.GOLD,)},
        {"type": AgentType.MENTOR},
        {"language": "es"},
        {"has_voice_chat": True},
        {"has_memory": True},
        {"owner_id": MAX},
        {"min_price": Dof(101)},
        {"max_price": Dof(99)},
        {"min_rating": 4.501},
    ]
    assert [require_filter(**asked).matches(listing) for asked in yes] == [True] * len(yes)  # type: ignore[arg-type]
    assert [require_filter(**asked).matches(listing) for asked in no] == [False] * len(no)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"game": "x" * 61}, "filter.game"),
        ({"tags": tuple(f"t{number}" for number in range(11))}, "filter.tags"),
        ({"language": "not a tag"}, "filter.language"),
        ({"min_rating": 5.1}, "filter.minRating"),
        ({"min_rating": float("nan")}, "filter.minRating"),
        ({"owner_id": "usr_x/../y"}, "filter.ownerId"),
    ],
)
def test_a_malformed_filter_names_its_field(asked: dict[str, object], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        require_filter(**asked)  # type: ignore[arg-type]
    assert caught.value.field == field
