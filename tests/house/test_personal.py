"""What is held of a person is known by collection: a new one is exported, or says that it is of nobody."""

from __future__ import annotations

from firestore import collections
from firestore.personal import FORGOTTEN, PROFILE, SHELVES, USAGE
from firestore.records import Collection

OF_NOBODY = {
    "endings": "the hash of a key that ended a session: the session is exported",
    "tallies": "what a session was counted for",
    "inbox": "webhooks as they came: cleaned with their order",
    "outbox": "what a commit told, by ids, for some days",
    "topics": "how far a topic has counted",
    "notification_boxes": "how far notifications have counted",
    "key_rings": "the ids of keys that are exported themselves",
    "erasures": "ids of who is nobody any more",
    "figures": "what was counted of a subject on a day: the facts are exported",
    "platform_days": "what was counted of all on a day",
    "cohorts": "how many came in a week",
    "counting_marks": "how far the roll-up has come",
    "digests": "hashes",
    "digest_leaves": "hashes",
    "acts": "what somebody did by an office: the office's record",
    "marks": "that a step was counted",
    "badge_totals": "how many have a badge",
}
"""Each with the reason why an export leaves it out."""

EVERY = {each.name for each in vars(collections).values() if isinstance(each, Collection)}


def test_every_collection_is_exported_or_says_why_not() -> None:
    told = {each.name for each in (*PROFILE, USAGE, *(shelf.collection for shelf in SHELVES))}
    assert told & set(OF_NOBODY) == set()
    assert EVERY - told - set(OF_NOBODY) == set(), "name it in firestore/personal.py, or here with a reason"
    assert (told | set(OF_NOBODY)) - EVERY == set()


def test_what_is_forgotten_is_exported_before() -> None:
    by_user = {shelf.collection.name for shelf in SHELVES if shelf.field == "user_id"}
    assert {each.name for each in FORGOTTEN} <= by_user
