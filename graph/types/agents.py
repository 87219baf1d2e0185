"""Agents, their configuration and its versions."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import strawberry

from domain import agents, listings, progress, revisions, sessions
from domain.agents import AgentType, Provider, Rank, SpecialistType
from domain.errors import Forbidden
from domain.images import ImageSize
from domain.keys import KeyScope
from domain.policy import ROWS_MAX
from domain.progress import EXPERIENCE_MAX
from domain.revisions import FIELDS_MAX, GAMES_MAX, TOOLS_MAX
from domain.sessions import SessionType
from firestore.collections import AGENT_VERSIONS, AGENTS, LISTINGS, USERS
from graph.connection import Connection, connect, page_size, position_of, scope_of
from graph.context import Info, found
from graph.enums import enum
from graph.errors import PROBLEMS_MAX, ConfigurationProblem
from graph.sizes import at_most
from graph.types.badges import EarnedBadge, badges_of, progress_of
from graph.types.nodes import Node

if TYPE_CHECKING:
    from graph.types.listings import Listing
    from graph.types.users import User

enum(AgentType, "What an agent is to its player: help with play, a teacher, or an expert of its games.")
enum(Provider, "Whose model an agent runs on.")
enum(
    ImageSize,
    "The longest side of a picture.",
    LARGE="At most 1,024 pixels.",
    MEDIUM="At most 256 pixels.",
    SMALL="At most 64 pixels.",
)
enum(
    SpecialistType,
    "Where a specialist's knowledge comes from.",
    TRAINED="It was made for its games.",
    EXPERIENCE="It has played them.",
)


@strawberry.type
class Specialization:
    games: list[str] = strawberry.field(metadata=at_most(GAMES_MAX))
    focus: str
    specialist_type: SpecialistType


@strawberry.type
class ExperienceItem:
    game: str
    hours: int
    title: str
    level: int
    last_used_at: datetime


@strawberry.type
class ModelConfig:
    model: str
    temperature: float | None
    max_output_tokens: int | None

    @classmethod
    def of(cls, record: agents.ModelConfig) -> ModelConfig:
        return cls(model=record.model, temperature=record.temperature, max_output_tokens=record.max_output_tokens)


@strawberry.type
class AgentConfiguration:
    provider: Provider
    primary: ModelConfig
    fallback: ModelConfig | None
    instructions: str | None
    tools: list[str] = strawberry.field(metadata=at_most(TOOLS_MAX))
    voice_id: str | None
    memory: bool

    @classmethod
    def of(cls, record: agents.AgentConfiguration) -> AgentConfiguration:
        return cls(
            provider=record.provider,
            primary=ModelConfig.of(record.primary),
            fallback=ModelConfig.of(record.fallback) if record.fallback else None,
            instructions=record.instructions,
            tools=list(record.tools),
            voice_id=record.voice_id,
            memory=record.memory,
        )


@strawberry.type(description="A field of a configuration by its path; null is nothing.")
class FieldChange:
    field: str
    before: str | None
    after: str | None


@strawberry.type(description="A configuration as one change left it.")
class AgentVersion:
    record: strawberry.Private[agents.AgentVersion]
    earlier: strawberry.Private[agents.AgentVersion | None]
    version: int
    configuration: AgentConfiguration
    changes: list[str] = strawberry.field(metadata=at_most(FIELDS_MAX))
    restored_version: int | None
    created_at: datetime

    @classmethod
    def of(cls, record: agents.AgentVersion, earlier: agents.AgentVersion | None = None) -> AgentVersion:
        """`earlier` is the version before, where it was read with this one."""
        return cls(
            record=record,
            earlier=earlier,
            version=record.version,
            configuration=AgentConfiguration.of(record.configuration),
            changes=list(record.changes),
            restored_version=record.restored_version,
            created_at=record.at,
        )

    @strawberry.field(
        metadata=at_most(FIELDS_MAX, reads=1),
        description="Against another version, or the one before; nothing for the first.",
    )
    async def diff(self, info: Info, against: int | None = None) -> list[FieldChange]:
        context = info.context
        if against is not None:
            other = await context.loaders.one(AGENT_VERSIONS, agents.version_id(self.record.agent_id, against))
            found(other, "version")
        else:
            other = self.earlier or await context.store.agents.version_before(self.record)
        if other is None:
            return []
        changed = revisions.diff(other.configuration, self.record.configuration)
        return [FieldChange(field=each.field, before=each.before, after=each.after) for each in changed]


@strawberry.type(description="What validateAgentConfiguration finds, field by field.")
class ConfigurationReport:
    valid: bool
    problems: list[ConfigurationProblem] = strawberry.field(metadata=at_most(PROBLEMS_MAX))


@strawberry.type(description="A gaming assistant. Its owner may sell its time and give it away; its creator stays.")
class Agent(Node):
    record: strawberry.Private[agents.Agent]
    name: str
    rank: Rank
    type: AgentType
    provider: Provider
    nationality: str
    language: str
    voice_id: str | None
    has_voice_chat: bool
    has_commentator: bool
    has_memory: bool
    toolkit: list[str] = strawberry.field(metadata=at_most(TOOLS_MAX))
    progression_enabled: bool
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, record: agents.Agent) -> Agent:
        return cls(
            id=strawberry.ID(record.id),
            record=record,
            name=record.name,
            rank=record.rank,
            type=record.type,
            provider=record.provider,
            nationality=record.nationality,
            language=record.language,
            voice_id=record.voice_id,
            has_voice_chat=record.has_voice_chat,
            has_commentator=record.has_commentator,
            has_memory=record.has_memory,
            toolkit=list(record.toolkit),
            progression_enabled=record.progression_enabled,
            version=record.version,
            created_at=record.created_at,
            updated_at=record.updated_at,
        )

    @strawberry.field(description="Null where there is no picture; LARGE where no size is asked for.")
    def image_url(self, info: Info, size: ImageSize | None = None) -> str | None:
        return info.context.desk.gallery.url(self.record.image, size or ImageSize.LARGE)

    @strawberry.field
    def specialization(self) -> Specialization | None:
        told = self.record.specialization
        if told is None:
            return None
        return Specialization(games=list(told.games), focus=told.focus, specialist_type=told.specialist_type)

    @strawberry.field(
        metadata=at_most(EXPERIENCE_MAX, reads=1),
        description="Billed hours by game, of those that its hirers spent with it; the 20 with the most, in order.",
    )
    async def experience(self, info: Info) -> list[ExperienceItem]:
        levels = info.context.desk.policy.progression.levels
        return [
            ExperienceItem(
                game=item.game, hours=item.hours, title=item.title, level=item.level, last_used_at=item.last_used_at
            )
            for item in progress.experience(await progress_of(info.context, self.record.id), levels)
        ]

    @strawberry.field(metadata=at_most(ROWS_MAX, reads=1), description="The latest first.")
    async def badges(self, info: Info) -> list[EarnedBadge]:
        return await badges_of(info.context, self.record.id)

    @strawberry.field
    async def owner(self, info: Info) -> Annotated[User, strawberry.lazy("graph.types.users")]:
        from graph.types.users import User

        return User.of(await info.context.loaders.known(USERS, self.record.owner_id))

    @strawberry.field
    async def creator(self, info: Info) -> Annotated[User, strawberry.lazy("graph.types.users")]:
        from graph.types.users import User

        return User.of(await info.context.loaders.known(USERS, self.record.creator_id))

    @strawberry.field(
        description="The owner's and a live hirer's, not of a trial; FORBIDDEN to others. A key needs READ, or AGENTS "
        "for its owner's own."
    )
    async def configuration(self, info: Info) -> AgentConfiguration:
        await self._require_insider(info)
        return AgentConfiguration.of(self.record.configuration)

    @strawberry.field(
        description="Every configuration that was, newest first. The owner's only; a key needs READ or AGENTS."
    )
    async def versions(
        self, info: Info, first: int | None = None, after: str | None = None
    ) -> Connection[AgentVersion]:
        context = info.context
        if context.user_id != self.record.owner_id:
            raise Forbidden("Only its owner reads an agent's versions.")
        context.require_scope(KeyScope.READ, KeyScope.AGENTS)
        scope = scope_of("Agent.versions", context.user_id, self.id)
        position = position_of(context.desk.cursors, scope, after)
        page = await context.store.agents.versions(self.record.id, page_size(first), position)
        # Newest first: each is followed by the one before it.
        earlier = {newer.version: older for newer, older in pairwise(page.nodes)}

        def shown(record: agents.AgentVersion) -> AgentVersion:
            return AgentVersion.of(record, earlier.get(record.version))

        return connect(page, shown, context.desk.cursors, scope, after)

    @strawberry.field
    async def listing(self, info: Info) -> Annotated[Listing, strawberry.lazy("graph.types.listings")] | None:
        from graph.types.listings import Listing

        if self.record.listing_id is None:
            return None
        record = await info.context.loaders.one(LISTINGS, self.record.listing_id)
        return Listing.of(record) if record and await info.context.sees(record, listings.visible_to) else None

    async def _require_insider(self, info: Info) -> None:
        """Raises Forbidden for who neither owns the agent nor runs a session of it now."""
        context = info.context
        if context.user_id == self.record.owner_id:
            context.require_scope(KeyScope.READ, KeyScope.AGENTS)
            return
        context.require_scope(KeyScope.READ)  # by whatever payload it came here: what a hirer reads is a reading
        if context.user_id:
            mine = await context.loaders.unsettled.load(context.user_id)
            if any(self._is_paid_for(each) and not each.is_over(context.now) for each in mine):
                return
        raise Forbidden("An agent's configuration is for its owner and for who hires it now.")

    def _is_paid_for(self, session: sessions.Session) -> bool:
        """A trial is free, and would hand every creator's prompt to whoever asks for one."""
        return session.agent_id == self.record.id and session.type is SessionType.HIRED


async def agent_of(info: Info, agent_id: str) -> Agent:
    """The agent that another record names; who may see the record may see the agent's public face."""
    return Agent.of(await info.context.loaders.known(AGENTS, agent_id))
