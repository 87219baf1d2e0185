"""What every object with an id has in common."""

from __future__ import annotations

import strawberry


@strawberry.interface(description="An object that `node(id:)` finds.")
class Node:
    id: strawberry.ID
