"""The roof's vocabulary: a root field is a resolver and a permission, in one line.

What the schema says of it is the first paragraph of the resolver's docstring: written once, for who calls it.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import wraps
from typing import Any

import strawberry
from strawberry.types.base import StrawberryObjectDefinition

from domain.keys import KeyScope
from graph.connection import FIRST_DEFAULT, FIRST_MAX
from graph.context import Info
from graph.permissions import Gate, KeyGate, Keys, Permission, Standing
from graph.sizes import Size

_OF_A_PAGE = {
    "first": f"How many, 1 to {FIRST_MAX}; {FIRST_DEFAULT} where it is absent.",
    "after": "The `endCursor` of the page before; absent, the list begins.",
}


def query(
    resolver: Callable[..., Any],
    permission: Permission,
    keys: KeyScope | None = None,
    size: Mapping[str, Size] | None = None,
) -> Any:
    gate = Gate(permission, keys, confirms=False)
    field = strawberry.field(resolver=resolver, extensions=[gate], description=told(resolver), metadata=size)
    if {"first", "after"} <= {each.python_name for each in field.arguments}:
        for argument in field.arguments:
            argument.description = _OF_A_PAGE.get(argument.python_name)
    return _printed(field, permission, keys)


def mutation(
    resolver: Callable[..., Any],
    permission: Permission,
    keys: KeyScope | None = None,
    *,
    standing: Standing = Standing.AT_THE_DOOR,
) -> Any:
    gate = Gate(permission, keys, confirms=True, standing=standing)
    field = strawberry.mutation(resolver=resolver, extensions=[gate], description=told(resolver))
    return _printed(field, permission, keys)


def subscription(
    resolver: Callable[..., AsyncGenerator[Any, None]], permission: Permission, keys: KeyScope | None = None
) -> Any:
    """Strawberry extends no source of events, so the gate stands in front of the source itself."""

    @wraps(resolver)
    async def gated(info: Info, **arguments: Any) -> AsyncGenerator[Any, None]:
        info.context.require_scope(keys)
        await permission.check(info.context)
        async with aclosing(resolver(info, **arguments)) as events:
            async for event in events:
                yield event

    return _printed(strawberry.subscription(resolver=gated, description=told(resolver)), permission, keys)


def told(documented: object) -> str | None:
    """The first paragraph of a docstring, in one line."""
    text = inspect.getdoc(documented)
    return " ".join(text.partition("\n\n")[0].split()) if text else None


def _printed(field: Any, permission: Permission, keys: KeyScope | None) -> Any:
    field.directives.append(permission.directive)
    if keys is not None:
        field.directives.append(Keys(scope=keys))
    return field


def open_to_keys(type_: type, scopes: Mapping[str, KeyScope], also: Mapping[str, KeyScope] | None = None) -> None:
    """Say what API keys may read of a type, by field; all that is not named is closed to them, whoever adds it. `also`
    names a second scope that serves; the printed one is the first.

    Raises LookupError for a name that the type does not have. Saying it again changes nothing.
    """
    definition: StrawberryObjectDefinition = type_.__strawberry_definition__  # type: ignore[attr-defined]
    unknown = scopes.keys() - {field.python_name for field in definition.fields}
    if unknown:
        raise LookupError(f"{type_.__name__} has no field {', '.join(sorted(unknown))}")
    for field in definition.fields:
        if field.base_resolver is None or any(isinstance(each, KeyGate) for each in field.extensions):
            continue  # a plain attribute, such as the id, is the type's own name
        scope = scopes.get(field.python_name)
        field.extensions.append(KeyGate(scope, (also or {}).get(field.python_name)))
        if scope is not None:
            field.directives = [*field.directives, Keys(scope=scope)]


def require_gates(*roots: type) -> None:
    """Refuse to build a schema with a root field that declares no permission."""
    for root in roots:
        definition: StrawberryObjectDefinition = root.__strawberry_definition__  # type: ignore[attr-defined]
        for field in definition.fields:
            declared = any(isinstance(extension, Gate) for extension in field.extensions) or field.directives
            if not declared:
                raise TypeError(f"{root.__name__}.{field.python_name} declares no permission: see graph/permissions.py")
