"""How an agent comes to be, and how it changes: every change of configuration is a version that can be restored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from domain import texts
from domain.agents import (
    Agent,
    AgentConfiguration,
    AgentType,
    AgentVersion,
    Catalogue,
    ModelConfig,
    Problem,
    Provider,
    Rank,
    Specialization,
    check_agent,
    require_valid,
    version_id,
)
from domain.errors import Conflict
from domain.texts import KEEP, Keep
from domain.users import NATIONALITY_CHARACTERS_MAX

NAME_CHARACTERS_MAX = 80  # one line of a list
MODEL_CHARACTERS_MAX = 120  # several times the catalogue's longest, for one that names its region and version
VOICE_ID_CHARACTERS_MAX = 120  # a provider's id, which may be a path
FOCUS_CHARACTERS_MAX = 120  # a line: what it is about, not how
TOOLS_MAX, TOOL_CHARACTERS_MAX = 50, 60  # several times what the catalogue has, which decides
GAMES_MAX, GAME_CHARACTERS_MAX = 10, 60  # labels of a search, ten rows of its index; the longest titles have some 60
INSTRUCTIONS_CHARACTERS_MAX = 32_000  # more is refused unread; the catalogue's own limit, told in the report, is lower


@dataclass(frozen=True, slots=True)
class AgentWish:
    """What to create. Without a model the provider's default is taken.

    What `configuration` says counts beside the rest: tools and memory add up, and two voices, models or providers
    that differ are a problem of the configuration.
    """

    name: str
    type: AgentType
    provider: Provider
    nationality: str
    language: str
    model: str | None = None
    voice_id: str | None = None
    has_voice_chat: bool = False
    has_commentator: bool = False
    has_memory: bool = False
    toolkit: tuple[str, ...] = ()
    specialization: Specialization | None = None
    progression_enabled: bool = False
    configuration: AgentConfiguration | None = None


@dataclass(frozen=True, slots=True)
class AgentChange:
    """What to change of an agent: None, or KEEP where None clears the field, leaves it as it is. A new picture comes by
    an upload."""

    name: str | None = None
    type: AgentType | None = None
    nationality: str | None = None
    language: str | None = None
    image: Keep | None = KEEP
    voice_id: str | Keep | None = KEEP
    has_voice_chat: bool | None = None
    has_commentator: bool | None = None
    has_memory: bool | None = None
    toolkit: tuple[str, ...] | None = None
    specialization: Specialization | Keep | None = KEEP
    progression_enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class Revision:
    """An agent after a change: the public names of what changed, and the version that its configuration made.

    With no changes it is the agent as it was. So a change that is there already, such as one whose reply was lost, is
    answered again and not made twice.
    """

    agent: Agent
    changes: tuple[str, ...] = ()
    version: AgentVersion | None = None


def create(agent_id: str, wish: AgentWish, catalogue: Catalogue, owner_id: str, now: datetime) -> Revision:
    """A new agent and its first version. Raises InvalidConfiguration, BadInput."""
    configuration, contradictions = _wished_configuration(wish, catalogue)
    agent = Agent(
        id=agent_id,
        owner_id=owner_id,
        creator_id=owner_id,
        name=_name(wish.name),
        type=wish.type,
        nationality=_nationality(wish.nationality),
        language=texts.language(wish.language, "input.language"),
        configuration=configuration,
        created_at=now,
        updated_at=now,
        has_voice_chat=wish.has_voice_chat,
        has_commentator=wish.has_commentator,
        specialization=_specialization(wish.specialization),
        progression_enabled=wish.progression_enabled,
    )
    require_valid((*contradictions, *check_agent(agent, catalogue)))
    first = AgentVersion(version_id(agent_id, 1), agent_id, 1, configuration, (), owner_id, now)
    return Revision(agent, (), first)


def change(
    agent: Agent, wish: AgentChange, expected_version: int | None, catalogue: Catalogue, now: datetime
) -> Revision:
    """Change what the wish names. `expected_version` None takes the agent as it is.

    Raises Conflict when the caller saw another version, InvalidConfiguration, BadInput.
    """
    configuration = agent.configuration
    if wish.toolkit is not None:
        configuration = replace(configuration, tools=_tools(wish.toolkit, "input.toolkit"))
    if wish.voice_id is not KEEP:
        voice_id = texts.optional_line(wish.voice_id, "input.voiceId", VOICE_ID_CHARACTERS_MAX)
        configuration = replace(configuration, voice_id=voice_id)
    if wish.has_memory is not None:
        configuration = replace(configuration, memory=wish.has_memory)
    after = replace(
        agent,
        name=agent.name if wish.name is None else _name(wish.name),
        type=wish.type or agent.type,
        nationality=agent.nationality if wish.nationality is None else _nationality(wish.nationality),
        language=agent.language if wish.language is None else texts.language(wish.language, "input.language"),
        has_voice_chat=agent.has_voice_chat if wish.has_voice_chat is None else wish.has_voice_chat,
        has_commentator=agent.has_commentator if wish.has_commentator is None else wish.has_commentator,
        progression_enabled=agent.progression_enabled if wish.progression_enabled is None else wish.progression_enabled,
        configuration=configuration,
    )
    if wish.image is not KEEP:
        after = replace(after, image=None)
    if wish.specialization is not KEEP:
        after = replace(after, specialization=_specialization(wish.specialization))
    return _revised(agent, after, expected_version, catalogue, now)


def configure(
    agent: Agent,
    configuration: AgentConfiguration,
    expected_version: int | None,
    catalogue: Catalogue,
    now: datetime,
) -> Revision:
    """Replace the configuration as a whole. Raises Conflict, InvalidConfiguration, BadInput."""
    return _revised(agent, replace(agent, configuration=tidy(configuration)), expected_version, catalogue, now)


def restore(
    agent: Agent, old: AgentVersion, expected_version: int | None, catalogue: Catalogue, now: datetime
) -> Revision:
    """Make an old configuration the newest version. It must still be valid: models and tools come and go.

    Restoring what is in force changes nothing. Raises Conflict, InvalidConfiguration.
    """
    revision = _revised(agent, replace(agent, configuration=old.configuration), expected_version, catalogue, now)
    if revision.version is None:
        return revision
    return replace(revision, version=replace(revision.version, restored_version=old.version))


def with_rank(agent: Agent, rank: Rank, now: datetime) -> Revision:
    """The agent in another rank. Its configuration stays, so nothing of it is checked again."""
    if agent.rank is rank:
        return Revision(agent)
    return Revision(replace(agent, rank=rank, version=agent.version + 1, updated_at=now), ("rank",))


def with_image(agent: Agent, image: str, now: datetime) -> Revision:
    """The agent with another picture, by its name."""
    if agent.image == image:
        return Revision(agent)
    return Revision(replace(agent, image=image, version=agent.version + 1, updated_at=now), ("imageUrl",))


def tidy(configuration: AgentConfiguration) -> AgentConfiguration:
    """The configuration with clean texts. Raises BadInput on what is no text; limits are `check_configuration`'s."""
    at = "input.configuration"
    fallback = configuration.fallback
    return replace(
        configuration,
        primary=_tidy_model(configuration.primary, f"{at}.primary.model"),
        fallback=None if fallback is None else _tidy_model(fallback, f"{at}.fallback.model"),
        instructions=texts.optional_prose(
            configuration.instructions, f"{at}.instructions", INSTRUCTIONS_CHARACTERS_MAX
        ),
        tools=_tools(configuration.tools, f"{at}.tools"),
        voice_id=texts.optional_line(configuration.voice_id, f"{at}.voiceId", VOICE_ID_CHARACTERS_MAX),
    )


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of a configuration by its path, and what it was and is, as text; None is nothing."""

    field: str
    before: str | None
    after: str | None


def diff(before: AgentConfiguration, after: AgentConfiguration) -> tuple[FieldChange, ...]:
    """What differs between two configurations, in the order of the fields."""
    old, new = _fields(before), _fields(after)
    return tuple(FieldChange(name, old[name], new[name]) for name in new if old[name] != new[name])


def _fields(configuration: AgentConfiguration) -> dict[str, str | None]:
    """Every field by its path, as text."""
    models = {"primary": configuration.primary, "fallback": configuration.fallback}
    told: dict[str, object] = {"provider": configuration.provider.value}
    for name, model in models.items():
        told[f"{name}.model"] = model.model if model else None
        told[f"{name}.temperature"] = model.temperature if model else None
        told[f"{name}.maxOutputTokens"] = model.max_output_tokens if model else None
    told["instructions"] = configuration.instructions
    told["tools"] = ", ".join(configuration.tools) or None
    told["voiceId"] = configuration.voice_id
    told["memory"] = "true" if configuration.memory else "false"
    return {name: None if value is None else str(value) for name, value in told.items()}


FIELDS_MAX = 14
"""Fields that a change can name: of an agent; a configuration has fewer, by name and by path."""

_AGENT_FIELDS = {
    "name": "name",
    "type": "type",
    "provider": "provider",
    "nationality": "nationality",
    "language": "language",
    "image": "imageUrl",
    "voice_id": "voiceId",
    "has_voice_chat": "hasVoiceChat",
    "has_commentator": "hasCommentator",
    "has_memory": "hasMemory",
    "toolkit": "toolkit",
    "specialization": "specialization",
    "progression_enabled": "progressionEnabled",
    "configuration": "configuration",
}
_CONFIGURATION_FIELDS = {
    "provider": "provider",
    "primary": "primary",
    "fallback": "fallback",
    "instructions": "instructions",
    "tools": "tools",
    "voice_id": "voiceId",
    "memory": "memory",
}


def _revised(
    before: Agent, after: Agent, expected_version: int | None, catalogue: Catalogue, now: datetime
) -> Revision:
    changes = _differences(before, after, _AGENT_FIELDS)
    if not changes:
        return Revision(before)
    if expected_version is not None and expected_version != before.version:
        raise Conflict(
            f"The agent is at version {before.version}, not {expected_version}: read it again, then change it."
        )
    require_valid(check_agent(after, catalogue))
    agent = replace(after, version=before.version + 1, updated_at=now)
    if before.configuration == after.configuration:
        return Revision(agent, changes)
    parts = _differences(before.configuration, after.configuration, _CONFIGURATION_FIELDS)
    version = AgentVersion(
        version_id(agent.id, agent.version), agent.id, agent.version, agent.configuration, parts, agent.owner_id, now
    )
    return Revision(agent, changes, version)


def _differences(before: object, after: object, fields: dict[str, str]) -> tuple[str, ...]:
    return tuple(public for name, public in fields.items() if getattr(before, name) != getattr(after, name))


def _wished_configuration(wish: AgentWish, catalogue: Catalogue) -> tuple[AgentConfiguration, tuple[Problem, ...]]:
    """One configuration of what the wish says in two places, and where the two contradict each other."""
    toolkit = _tools(wish.toolkit, "input.toolkit")
    voice_id = texts.optional_line(wish.voice_id, "input.voiceId", VOICE_ID_CHARACTERS_MAX)
    model = texts.optional_line(wish.model, "input.model", MODEL_CHARACTERS_MAX)
    if wish.configuration is None:
        limits = catalogue.providers.get(wish.provider)
        chosen = ModelConfig(model or (limits.default_model if limits else ""))
        plain = AgentConfiguration(wish.provider, chosen, tools=toolkit, voice_id=voice_id, memory=wish.has_memory)
        return plain, ()
    told = tidy(wish.configuration)
    pairs = (
        ("provider", wish.provider, told.provider),
        ("primary.model", model or told.primary.model, told.primary.model),
        ("voiceId", voice_id or told.voice_id, told.voice_id or voice_id),
    )
    contradictions = tuple(
        Problem(f"configuration.{field}", f"It says {inner}, and the agent says {outer}: say the same.")
        for field, outer, inner in pairs
        if outer != inner
    )
    merged = replace(
        told,
        tools=tuple(dict.fromkeys((*toolkit, *told.tools))),
        voice_id=told.voice_id or voice_id,
        memory=told.memory or wish.has_memory,
    )
    return merged, contradictions


def _name(raw: str) -> str:
    return texts.line(raw, "input.name", NAME_CHARACTERS_MAX)


def _nationality(raw: str) -> str:
    return texts.line(raw, "input.nationality", NATIONALITY_CHARACTERS_MAX)


def _specialization(told: Specialization | Keep | None) -> Specialization | None:
    """Cleaned; an empty focus stays, for `check_agent` to name."""
    if told is None or isinstance(told, Keep):
        return None
    at = "input.specialization"
    games = texts.words(told.games, f"{at}.games", GAMES_MAX, GAME_CHARACTERS_MAX)
    focus = texts.optional_line(told.focus, f"{at}.focus", FOCUS_CHARACTERS_MAX) or ""
    return Specialization(games, focus, told.specialist_type)


def _tools(tools: tuple[str, ...], at: str) -> tuple[str, ...]:
    return texts.words(tools, at, TOOLS_MAX, TOOL_CHARACTERS_MAX)


def _tidy_model(config: ModelConfig, at: str) -> ModelConfig:
    return replace(config, model=texts.line(config.model, at, MODEL_CHARACTERS_MAX))
