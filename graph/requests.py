"""A request as it comes: strict JSON, and the parameters of the GraphQL-over-HTTP specification."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

_INT64 = range(-(2**63), 2**63)
_TELLING_CHARACTERS = 4  # shorter strings are part of half of all words, and tell nothing


# graphql-core ends its messages with the value that it found: the whole object that lacks a field, password included.
_FOUND = re.compile(r"(?:[,;.] [Ff]ound:?|(?<!invalid) value:) .*$", re.DOTALL)
_OF_ENUM = re.compile(r"Value '.*' does not exist", re.DOTALL)


def discreet(message: str, variables: Mapping[str, Any] | None) -> str:
    """An error's text about a request without any string of its variables: what is wrong, and where (T-P01)."""
    shown = _OF_ENUM.sub("The value does not exist", _FOUND.sub("", message))
    if not shown.endswith("."):
        shown += "."
    if any(text in shown for text in _strings(variables) if len(text) >= _TELLING_CHARACTERS):
        return shown.partition(":")[0] + ": the value does not fit its type."
    return shown


def _strings(value: object) -> Iterator[str]:
    """Every string inside; `decode_json` bounds the depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)


class MalformedRequest(ValueError):
    """The body or message is no GraphQL request; the text says what to send."""


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """The parameters of the GraphQL-over-HTTP specification, section 5."""

    query: str
    operation_name: str | None = None
    variables: dict[str, Any] | None = None
    extensions: dict[str, Any] | None = None

    @classmethod
    def from_json(cls, value: object) -> GraphQLRequest:
        """Raises MalformedRequest unless `value` is one JSON object of the right types; no batches."""
        if not isinstance(value, dict):
            raise MalformedRequest('Send one JSON object: {"query": "…", "variables": {…}}. Batches are not taken.')
        query, name = value.get("query"), value.get("operationName")
        variables, extensions = value.get("variables"), value.get("extensions")
        if not isinstance(query, str):
            raise MalformedRequest("`query` must be a string with the GraphQL document.")
        if name is not None and not isinstance(name, str):
            raise MalformedRequest("`operationName` must be a string or null.")
        if variables is not None and not isinstance(variables, dict):
            raise MalformedRequest("`variables` must be an object or null.")
        if extensions is not None and not isinstance(extensions, dict):
            raise MalformedRequest("`extensions` must be an object or null.")
        return cls(query, name, variables, extensions)


def decode_json(raw: bytes) -> object:
    """Strict JSON: UTF-8 without BOM, finite numbers, integers of 64 bits, no key twice, 1,000 levels at most.

    orjson checks the bytes (it also refuses lone surrogates, which could not be sent back); the standard
    library's decoder is then asked for what orjson lets pass: a key given twice, an integer turned float.
    Raises MalformedRequest with a sentence about the first offence.
    """
    try:
        orjson.loads(raw)
        return _JSON.decode(raw.decode())
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"The JSON cannot be read: {error}.") from None
    except RecursionError:
        raise MalformedRequest("The JSON is nested too deeply.") from None


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedRequest("The JSON gives a key twice in one object; send each key once.")
    return found


def _int64(digits: str) -> int:
    # The length comes first: reading a hundred thousand digits is itself the attack.
    if len(digits) > 20 or (number := int(digits)) not in _INT64:
        raise MalformedRequest("The JSON holds an integer beyond 64 bits; send such a number as a string.")
    return number


_JSON = json.JSONDecoder(object_pairs_hook=_object_of, parse_int=_int64)
