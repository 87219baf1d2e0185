"""No text of a client costs more than its length: every place for one in the schema, given the largest that a body
holds, of the signs that text libraries are slow at."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from graphql import (
    GraphQLInputObjectType,
    GraphQLObjectType,
    get_named_type,
    get_nullable_type,
    is_enum_type,
    is_list_type,
    is_required_argument,
    is_required_input_field,
)

from domain.ids import Kind
from tests.api.api import Json, Market, Person, calls, graph, missing, select

BYTES = 90_000  # with the operation's own text just below what the door takes
CPU_SECONDS = 0.5  # a hundred times what the slowest takes on a free machine, and a hundredth of what a bad one took
HOSTILE = {
    # Marks of two classes in the wrong order: each of the second half is moved past each of the first.
    "marks": "a" + "\u0315" * (BYTES // 4) + "\u0316" * (BYTES // 4),
    "halfwidth marks": "a" + ("\u0315" * 8 + "\uff9e") * (BYTES // 19),
    "joined marks": "a" + ("\u0315\u0316\u200d" * (BYTES // 7)),
    "joiners": "a" + "\u200d" * (BYTES // 3),
    "flags": "\U0001f1f2\U0001f1fd" * (BYTES // 8),
    "digits": "1" * BYTES,
    "spaces": "a" + " " * (BYTES - 2) + "b",
}
TEXTS = {"String", "ID", "Date", "DateTime"}


@dataclass(frozen=True)
class Place:
    """Where a client can put a text: the path of names from an operation's argument on."""

    operation: str
    field: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.operation}.{self.field}({'.'.join(self.path)}:)"


def places() -> list[Place]:
    """Every one of the root fields."""
    roots = {"query": graph().query_type, "mutation": graph().mutation_type, "subscription": graph().subscription_type}
    return [
        Place(operation, name, (argument, *path))
        for operation, type_ in roots.items()
        for name, field in type_.fields.items()
        for argument, given in field.args.items()
        for path in _texts(given.type)
    ]


def _texts(type_: Any) -> Iterable[tuple[str, ...]]:
    named = get_named_type(type_)
    if isinstance(named, GraphQLInputObjectType):
        for name, field in named.fields.items():
            yield from ((name, *path) for path in _texts(field.type))
    elif named.name in TEXTS:
        yield ()


def _filled(type_: Any, path: tuple[str, ...], text: str, usual: Json = None) -> Json:
    """A value of the type with the text at the path; besides what is `usual`, and no more than there must be."""
    type_ = get_nullable_type(type_)
    if is_list_type(type_):
        return [_filled(type_.of_type, path, text, usual[0] if usual else None)]
    if not isinstance(type_, GraphQLInputObjectType):
        return text
    found = dict(usual or {})
    for name, field in type_.fields.items():
        if path and name == path[0]:
            found[name] = _filled(field.type, path[1:], text, found.get(name))
        elif name not in found and is_required_input_field(field):
            found[name] = _least(field.type)
    return found


def _least(type_: Any) -> Json:
    """The least value of a type that must be given."""
    type_ = get_nullable_type(type_)
    if is_list_type(type_):
        return []
    if is_enum_type(type_):
        return next(iter(type_.values))
    if isinstance(type_, GraphQLInputObjectType):
        return {name: _least(each.type) for name, each in type_.fields.items() if is_required_input_field(each)}
    usual = {"ID": missing(Kind.USER), "Date": "2026-01-01", "DateTime": "2026-01-01T00:00:00Z", "Boolean": True}
    return usual.get(type_.name, "a" if type_.name == "String" else 1)


def _asked(place: Place, text: str, usual: Mapping[str, Json]) -> tuple[str, dict[str, Json]]:
    """The operation that puts the text there, and its variables."""
    roots = {"query": graph().query_type, "mutation": graph().mutation_type, "subscription": graph().subscription_type}
    field = roots[place.operation].fields[place.field]
    values = {}
    for name, argument in field.args.items():
        if name == place.path[0]:
            values[name] = _filled(argument.type, place.path[1:], text, usual.get(name))
        elif is_required_argument(argument):
            values[name] = usual.get(name) or _least(argument.type)
    declared = ", ".join(f"$its_{name}: {field.args[name].type}" for name in values)
    given = ", ".join(f"{name}: $its_{name}" for name in values)
    variables = {f"its_{name}": value for name, value in values.items()}
    return f"{place.operation} ({declared}) {{ {place.field}({given}) {select(field.type, 0)} }}", variables


async def _cpu_seconds(who: Person, place: Place, asked: tuple[str, dict[str, Json]]) -> float:
    """What the process worked for one request; it answers, and with no fault."""
    query, variables = asked
    began = time.process_time()
    if place.operation == "subscription":
        async with await who.subscribe(query, **variables) as stream:
            answer = await stream.answer() or {}
    else:
        answer = (await who.raw(query, **variables)).json()
    took = time.process_time() - began
    codes = {each["extensions"]["code"] for each in answer.get("errors", ())}
    assert codes <= {"BAD_USER_INPUT", "UNAUTHENTICATED", "FORBIDDEN", "NOT_FOUND"}, (str(place), codes)
    return took


@pytest.mark.parametrize("kind", HOSTILE)
async def test_no_text_of_a_client_costs_more_than_its_length(market: Market, kind: str) -> None:
    known, slow = calls(market), {}
    assert len(places()) > 150, "the schema is walked"
    for place in places():
        who, usual = known.get(place.field, (market.root, {})) if place.operation == "mutation" else (market.root, {})
        asked = _asked(place, HOSTILE[kind], {"input": usual} if usual else {})
        took = await _cpu_seconds(who, place, asked)
        if took > CPU_SECONDS:  # the garbage of a long run may have been collected just then: once more
            took = await _cpu_seconds(who, place, asked)
        if took > CPU_SECONDS:
            slow[str(place)] = took
    assert slow == {}


async def test_no_text_below_the_roots_does_either(market: Market) -> None:
    ids = market.ids
    reached = {
        "Viewer": "viewer { %s }",
        "User": f'user(id: "{market.ada.user_id}") {{ %s }}',
        "Listing": f'listing(id: "{ids.listing}") {{ %s }}',
        "Agent": f'agent(id: "{ids.draft}") {{ %s }}',
        "WebhookEndpoint": "viewer { webhookEndpoints { %s } }",
    }
    roots = {"Query", "Mutation", "Subscription"}
    found = [
        (type_.name, name, argument)
        for type_ in graph().type_map.values()
        if isinstance(type_, GraphQLObjectType) and type_.name not in roots and not type_.name.startswith("__")
        for name, field in type_.fields.items()
        for argument, given in field.args.items()
        if list(_texts(given.type))
    ]
    assert len(found) >= 9, "the schema is walked"
    for type_name, name, argument in found:
        query = "query ($text: String) { " + reached[type_name] % f"{name}({argument}: $text) {{ __typename }}" + " }"
        for text in HOSTILE.values():
            place = Place("query", f"{type_name}.{name}", (argument,))
            assert await _cpu_seconds(market.ada, place, (query, {"text": text})) < CPU_SECONDS, str(place)
