"""An agent: identity, culture, features, and a configuration whose every change is a version that can be restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from domain.errors import InvalidConfiguration, NotFound
from domain.users import Viewer

AGENTS_MAX = 200  # of one owner: more than a studio offers, a list that one can look through, and 2 MB of instructions
DELETED_NAME = "Deleted agent"  # what others see of one whose owner's account was erased


class Rank(StrEnum):
    BRONZE = "BRONZE"
    SILVER = "SILVER"
    GOLD = "GOLD"
    PLATINUM = "PLATINUM"


class AgentType(StrEnum):
    ASSISTANT = "ASSISTANT"
    MENTOR = "MENTOR"
    SPECIALIST = "SPECIALIST"


class Provider(StrEnum):
    GEMINI = "GEMINI"
    GOOGLE = "GOOGLE"
    OPENAI = "OPENAI"


class SpecialistType(StrEnum):
    TRAINED = "TRAINED"
    EXPERIENCE = "EXPERIENCE"


@dataclass(frozen=True, slots=True)
class Specialization:
    games: tuple[str, ...]
    focus: str
    specialist_type: SpecialistType


@dataclass(frozen=True, slots=True)
class ExperienceItem:
    """What an agent has learned in one game: whole billed hours, and the title and level that they brought."""

    game: str
    hours: int
    title: str
    level: int
    last_used_at: datetime


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model and how it is asked; None leaves the choice to the provider. The temperature has the provider's scale."""

    model: str
    temperature: float | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class AgentConfiguration:
    """What runs. The agent's provider, voice, memory and toolkit are these, and not said twice."""

    provider: Provider
    primary: ModelConfig
    fallback: ModelConfig | None = None
    instructions: str | None = None
    tools: tuple[str, ...] = ()
    voice_id: str | None = None
    memory: bool = False


@dataclass(frozen=True, slots=True)
class Agent:
    """`version` rises with each change of what the agent is: publishing or a new owner does not change it.

    `published` holds exactly while its listing is ACTIVE or PAUSED.
    """

    id: str
    owner_id: str
    creator_id: str
    name: str
    type: AgentType
    nationality: str
    language: str
    configuration: AgentConfiguration
    created_at: datetime
    updated_at: datetime
    rank: Rank = Rank.BRONZE
    image: str | None = None  # the name of a picture: domain/images.py
    has_voice_chat: bool = False
    has_commentator: bool = False
    specialization: Specialization | None = None
    progression_enabled: bool = False
    listing_id: str | None = None
    published: bool = False
    version: int = 1
    deleted_at: datetime | None = None

    @property
    def provider(self) -> Provider:
        return self.configuration.provider

    @property
    def voice_id(self) -> str | None:
        return self.configuration.voice_id

    @property
    def has_memory(self) -> bool:
        return self.configuration.memory

    @property
    def toolkit(self) -> tuple[str, ...]:
        return self.configuration.tools

    @property
    def games(self) -> tuple[str, ...]:
        return self.specialization.games if self.specialization else ()


@dataclass(frozen=True, slots=True)
class AgentVersion:
    """A configuration as one change left it. `changes` names the fields that differ from the one before."""

    id: str
    agent_id: str
    version: int
    configuration: AgentConfiguration
    changes: tuple[str, ...]
    author_id: str
    at: datetime
    restored_version: int | None = None


def version_id(agent_id: str, version: int) -> str:
    """The id of an agent's version: the agent's, so that one reading finds it."""
    return f"{agent_id}.{version}"


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """What a provider lets a model be asked for. The temperature's range includes both ends."""

    max_output_tokens: int
    temperature_min: float = 0.0
    temperature_max: float = 2.0


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """The models that we know of a provider, by name, and the one that is taken where none is named."""

    default_model: str
    models: Mapping[str, ModelLimits]

    def __post_init__(self) -> None:
        if self.default_model not in self.models:
            raise ValueError(f"the default model {self.default_model} is not among the models {sorted(self.models)}")


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that agents may use; one that speaks needs a voice."""

    name: str
    needs_voice: bool = False


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What agents may be built of (settings): the limits of each provider, and the tools by name."""

    providers: Mapping[Provider, ProviderLimits]
    tools: Mapping[str, Tool]
    instructions_characters_max: int = 8_000


@dataclass(frozen=True, slots=True)
class Problem:
    """One field that breaks a limit, by its path in the input, and what would be right."""

    field: str
    message: str


# ---- what is valid


def check_configuration(configuration: AgentConfiguration, catalogue: Catalogue) -> tuple[Problem, ...]:
    """Every problem of a configuration, in the order of its fields; none means that it is valid."""
    problems: list[Problem] = []
    limits = catalogue.providers.get(configuration.provider)
    if limits is None:
        known = ", ".join(sorted(catalogue.providers))
        problems.append(Problem("configuration.provider", f"{configuration.provider} is not offered: choose {known}."))
    else:
        problems += _check_model("configuration.primary", configuration.primary, limits)
        if configuration.fallback is not None:
            problems += _check_model("configuration.fallback", configuration.fallback, limits)
            if configuration.fallback.model == configuration.primary.model:
                message = "The fallback is the primary model: choose another model, or leave it out."
                problems.append(Problem("configuration.fallback.model", message))
    most = catalogue.instructions_characters_max
    if len(configuration.instructions or "") > most:
        problems.append(Problem("configuration.instructions", f"The instructions take at most {most} characters."))
    # By place, not by name: what a client sends is in no error's text, which may be logged on its side or ours (T-P01).
    unknown = [f"tools[{place}]" for place, tool in enumerate(configuration.tools) if tool not in catalogue.tools]
    if unknown:
        known = ", ".join(sorted(catalogue.tools))
        problems.append(Problem("configuration.tools", f"Unknown: {', '.join(unknown)}. Choose of {known}."))
    speaking = [name for name in configuration.tools if name in catalogue.tools and catalogue.tools[name].needs_voice]
    if speaking and configuration.voice_id is None:
        problems.append(Problem("configuration.voiceId", f"{', '.join(speaking)} needs a voiceId."))
    return tuple(problems)


def check_agent(agent: Agent, catalogue: Catalogue) -> tuple[Problem, ...]:
    """Every problem of an agent: its configuration's, a voice chat without a voice, a specialist without a field."""
    problems = list(check_configuration(agent.configuration, catalogue))
    if agent.has_voice_chat and agent.voice_id is None and "configuration.voiceId" not in {p.field for p in problems}:
        problems.append(Problem("configuration.voiceId", "Voice chat needs a voiceId."))
    if agent.type is AgentType.SPECIALIST and not agent.games:
        problems.append(Problem("specialization.games", "A specialist names at least one game."))
    if agent.type is AgentType.SPECIALIST and not (agent.specialization and agent.specialization.focus):
        problems.append(Problem("specialization.focus", "A specialist names a focus."))
    return tuple(problems)


def require_valid(problems: tuple[Problem, ...]) -> None:
    """Raises InvalidConfiguration with the problems, if there are any."""
    if problems:
        raise InvalidConfiguration(tuple((problem.field, problem.message) for problem in problems))


def _check_model(at: str, config: ModelConfig, limits: ProviderLimits) -> list[Problem]:
    model = limits.models.get(config.model)
    if model is None:
        known = ", ".join(sorted(limits.models))
        return [Problem(f"{at}.model", f"This is not a known model: choose of {known}.")]
    problems = []
    low, high = model.temperature_min, model.temperature_max
    if config.temperature is not None and not low <= config.temperature <= high:
        problems.append(
            Problem(f"{at}.temperature", f"The temperature of {config.model} lies between {low} and {high}.")
        )
    if config.max_output_tokens is not None and not 1 <= config.max_output_tokens <= model.max_output_tokens:
        message = f"{config.model} gives 1 to {model.max_output_tokens} tokens."
        problems.append(Problem(f"{at}.maxOutputTokens", message))
    return problems


# ---- what is left of one whose owner's account was erased


def forget(agent: Agent) -> Agent:
    """The agent without its owner's words and picture: its kind, games and models stay, which sessions and books tell
    of."""
    special = agent.specialization
    return replace(
        agent,
        name=DELETED_NAME,
        image=None,
        configuration=_wordless(agent.configuration),
        specialization=None if special is None else replace(special, focus=""),
    )


def forget_version(version: AgentVersion) -> AgentVersion:
    """As `forget`, of what the agent was."""
    return replace(version, configuration=_wordless(version.configuration))


def _wordless(configuration: AgentConfiguration) -> AgentConfiguration:
    """A voice goes too: its id may be of the person's own."""
    return replace(configuration, instructions=None, voice_id=None)


# ---- who sees it


def visible_to(agent: Agent, viewer: Viewer | None) -> bool:
    """Public while published, else its owner's, and the moderators' who judge it; deleted, nobody's (ruling 10).

    Whoever holds a session with an agent still reads its public face through that session.
    """
    if agent.deleted_at is not None:
        return False
    return agent.published or (viewer is not None and (viewer.id == agent.owner_id or viewer.is_moderator))


def require_owned(agent: Agent | None, viewer_id: str) -> Agent:
    """The agent, if it is the viewer's. Raises NotFound, which does not tell missing from another's."""
    if agent is None or agent.deleted_at is not None or agent.owner_id != viewer_id:
        raise NotFound("agent")
    return agent
