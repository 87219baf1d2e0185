"""The roof's vocabulary: a root field is a resolver and a permission, in one line."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import wraps
from typing import Any

import strawberry
from strawberry.types.base import StrawberryObjectDefinition

from graph.context import Info
from graph.permissions import Gate, Permission


def query(resolver: Callable[..., Any], permission: Permission) -> Any:
    field = strawberry.field(resolver=resolver, extensions=[Gate(permission, confirms=False)])
    return _printed(field, permission)


def mutation(resolver: Callable[..., Any], permission: Permission) -> Any:
    field = strawberry.mutation(resolver=resolver, extensions=[Gate(permission, confirms=True)])
    return _printed(field, permission)


def subscription(resolver: Callable[..., AsyncGenerator[Any, None]], permission: Permission) -> Any:
    """Strawberry extends no source of events, so the gate stands in front of the source itself."""

    @wraps(resolver)
    async def gated(info: Info, **arguments: Any) -> AsyncGenerator[Any, None]:
        await permission.check(info.context)
        async with aclosing(resolver(info, **arguments)) as events:
            async for event in events:
                yield event

    return _printed(strawberry.subscription(resolver=gated), permission)


def _printed(field: Any, permission: Permission) -> Any:
    field.directives.append(permission.directive)
    return field


def require_gates(*roots: type) -> None:
    """Refuse to build a schema with a root field that declares no permission."""
    for root in roots:
        definition: StrawberryObjectDefinition = root.__strawberry_definition__  # type: ignore[attr-defined]
        for field in definition.fields:
            declared = any(isinstance(extension, Gate) for extension in field.extensions) or field.directives
            if not declared:
                raise TypeError(f"{root.__name__}.{field.python_name} declares no permission: see graph/permissions.py")
