"""Texts that were found valid, so that a client's next request is neither parsed nor validated again."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from graphql import DocumentNode, FragmentDefinitionNode

from graph.cost import Estimate

# A client uses a handful of texts; a few hundred serve every released client. Trees take far more than text.
_MAX_PLANS = 256
_MAX_PLANNED_CHARS = 2_000_000


@dataclass(slots=True)
class Plan:
    """A validated text. `estimates` holds, per operation name, what no variable changes."""

    document: DocumentNode
    fragments: dict[str, FragmentDefinitionNode]
    estimates: dict[str | None, Estimate] = field(default_factory=dict)


class Plans:
    """The texts used last, in bounds. Refused texts are not kept: garbage must not push out what clients use."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Plan] = OrderedDict()
        self._chars = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, text: str) -> Plan | None:
        plan = self._kept.get(text)
        if plan is not None:
            self._kept.move_to_end(text)
        return plan

    def keep(self, text: str, plan: Plan) -> None:
        self._kept[text] = plan
        self._chars += len(text)
        while len(self._kept) > _MAX_PLANS or self._chars > _MAX_PLANNED_CHARS:
            dropped, _ = self._kept.popitem(last=False)
            self._chars -= len(dropped)
