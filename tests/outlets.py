"""What leaves the house, kept in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from functions.tasks.notifications import Outlets
from integrations.fetch import Fetched, FetchRefused
from integrations.services import Mail, Push


@dataclass
class Mails:
    """A mail gateway; `fails` are raised first, one at each send."""

    sent: list[Mail] = field(default_factory=list)
    fails: list[Exception] = field(default_factory=list)

    async def send(self, mail: Mail) -> None:
        if self.fails:
            raise self.fails.pop(0)
        self.sent.append(mail)

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Pushes:
    """A push gateway that knows some tokens as gone."""

    sent: list[tuple[Push, tuple[str, ...]]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)

    async def send(self, push: Push, tokens: Sequence[str]) -> list[str]:
        self.sent.append((push, tuple(tokens)))
        return [each for each in tokens if each in self.gone]

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Web:
    """The world that webhooks are posted to: `answers` in turn, then 204; None is no answer."""

    posted: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)
    answers: list[int | None] = field(default_factory=list)

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Fetched:
        self.posted.append((url, content, dict(headers)))
        status = self.answers.pop(0) if self.answers else 204
        if status is None:
            raise FetchRefused("no answer within 3 s")
        return Fetched(status, b"", 7)

    async def close(self) -> None:
        """Nothing is open."""


class Heard(Outlets):
    """Outlets that keep what they are given."""

    mail: Mails
    push: Pushes
    web: Web  # type: ignore[assignment]


def heard() -> Heard:
    return Heard(Mails(), Pushes(), Web())  # type: ignore[arg-type]
