"""The roof's vocabulary: a root field is a resolver and a permission, in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import strawberry
from strawberry.types.base import StrawberryObjectDefinition

from graph.permissions import Gate, Permission


def query(resolver: Callable[..., Any], permission: Permission) -> Any:
    return strawberry.field(resolver=resolver, extensions=[Gate(permission, confirms=False)])


def mutation(resolver: Callable[..., Any], permission: Permission) -> Any:
    return strawberry.mutation(resolver=resolver, extensions=[Gate(permission, confirms=True)])


def subscription(resolver: Callable[..., Any], permission: Permission) -> Any:
    """The gate of a subscription is its resolver's first step: Strawberry extends no source of events."""
    field = strawberry.subscription(resolver=resolver)
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
