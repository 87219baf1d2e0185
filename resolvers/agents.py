"""Building agents."""

from __future__ import annotations

from typing import Annotated

import strawberry

from domain import agents, revisions
from domain.agents import AgentType, Provider, SpecialistType
from domain.ids import Kind, random_id
from domain.revisions import AgentChange, AgentWish
from domain.texts import KEEP, Keep
from firestore.agents import Expected
from graph.context import Context, Info
from graph.errors import (
    AgentInUse,
    ConfigurationProblem,
    Conflict,
    InvalidConfiguration,
    NotFound,
    SelfDealing,
)
from graph.types.agents import Agent, ConfigurationReport
from resolvers import nodes
from resolvers.images import picture


@strawberry.input
class SpecializationInput:
    games: list[str]
    focus: str
    specialist_type: SpecialistType

    def read(self) -> agents.Specialization:
        return agents.Specialization(tuple(self.games), self.focus, self.specialist_type)


@strawberry.input
class ModelConfigInput:
    model: str
    temperature: float | None = None
    max_output_tokens: int | None = None

    def read(self) -> agents.ModelConfig:
        return agents.ModelConfig(self.model, self.temperature, self.max_output_tokens)


@strawberry.input
class AgentConfigurationInput:
    provider: Provider
    primary: ModelConfigInput
    fallback: ModelConfigInput | None = None
    instructions: str | None = None
    tools: list[str] | None = None
    voice_id: str | None = None
    memory: bool | None = None

    def read(self) -> agents.AgentConfiguration:
        return agents.AgentConfiguration(
            provider=self.provider,
            primary=self.primary.read(),
            fallback=self.fallback.read() if self.fallback else None,
            instructions=self.instructions,
            tools=tuple(self.tools or ()),
            voice_id=self.voice_id,
            memory=bool(self.memory),
        )


@strawberry.input
class CreateAgentInput:
    name: str
    type: AgentType
    provider: Provider
    nationality: str
    language: str
    model: str | None = None
    voice_id: str | None = None
    has_voice_chat: bool | None = None
    has_commentator: bool | None = None
    has_memory: bool | None = None
    toolkit: list[str] | None = None
    specialization: SpecializationInput | None = None
    progression_enabled: bool | None = None
    configuration: AgentConfigurationInput | None = None


@strawberry.input(description="Fields that are absent stay; `version` is the one that you read.")
class UpdateAgentInput:
    id: strawberry.ID
    version: int
    name: str | None = None
    type: AgentType | None = None
    nationality: str | None = None
    language: str | None = None
    image_url: str | None = strawberry.field(
        default=strawberry.UNSET, description="null removes it; a new one comes by createImageUpload."
    )
    voice_id: str | None = strawberry.UNSET
    has_voice_chat: bool | None = None
    has_commentator: bool | None = None
    has_memory: bool | None = None
    toolkit: list[str] | None = None
    specialization: SpecializationInput | None = strawberry.UNSET
    progression_enabled: bool | None = None


@strawberry.input
class UpdateAgentConfigurationInput:
    agent_id: strawberry.ID
    configuration: AgentConfigurationInput
    version: int | None = None


@strawberry.input
class RestoreAgentVersionInput:
    agent_id: strawberry.ID
    version: int


@strawberry.input
class DeleteAgentInput:
    id: strawberry.ID


@strawberry.input
class TransferAgentInput:
    agent_id: strawberry.ID
    to_user_id: strawberry.ID


@strawberry.type
class CreateAgentPayload:
    agent: Agent


@strawberry.type
class UpdateAgentPayload:
    agent: Agent


@strawberry.type
class UpdateAgentConfigurationPayload:
    agent: Agent


@strawberry.type
class RestoreAgentVersionPayload:
    agent: Agent


@strawberry.type
class DeleteAgentPayload:
    agent_id: strawberry.ID


@strawberry.type
class TransferAgentPayload:
    agent: Agent


CreateAgentResult = Annotated[
    CreateAgentPayload | InvalidConfiguration | Conflict, strawberry.union("CreateAgentResult")
]
UpdateAgentResult = Annotated[
    UpdateAgentPayload | NotFound | Conflict | InvalidConfiguration, strawberry.union("UpdateAgentResult")
]
UpdateAgentConfigurationResult = Annotated[
    UpdateAgentConfigurationPayload | NotFound | Conflict | InvalidConfiguration,
    strawberry.union("UpdateAgentConfigurationResult"),
]
RestoreAgentVersionResult = Annotated[
    RestoreAgentVersionPayload | NotFound | Conflict | InvalidConfiguration,
    strawberry.union("RestoreAgentVersionResult"),
]
DeleteAgentResult = Annotated[DeleteAgentPayload | NotFound | AgentInUse, strawberry.union("DeleteAgentResult")]
TransferAgentResult = Annotated[
    TransferAgentPayload | NotFound | Conflict | AgentInUse | SelfDealing, strawberry.union("TransferAgentResult")
]


async def agent(info: Info, id: strawberry.ID) -> Agent | None:
    """An agent, for its owner and for whoever may see its listing; null for everybody else."""
    return await nodes.agent(info.context, id)


async def validate_agent_configuration(info: Info, input: AgentConfigurationInput) -> ConfigurationReport:
    """Check a configuration against its provider's limits and keep nothing. Each problem names its field."""
    configuration = revisions.tidy(input.read())
    problems = agents.check_configuration(configuration, info.context.desk.policy.catalogue)
    shown = [ConfigurationProblem(field=problem.field, message=problem.message) for problem in problems]
    return ConfigurationReport(valid=not problems, problems=shown)


async def create_agent(info: Info, input: CreateAgentInput) -> CreateAgentResult:
    """Make an agent that the viewer owns and has created; nobody sees it before publishAgent."""
    context = info.context
    wish = AgentWish(
        name=input.name,
        type=input.type,
        provider=input.provider,
        nationality=input.nationality,
        language=input.language,
        model=input.model,
        voice_id=input.voice_id,
        has_voice_chat=bool(input.has_voice_chat),
        has_commentator=bool(input.has_commentator),
        has_memory=bool(input.has_memory),
        toolkit=tuple(input.toolkit or ()),
        specialization=input.specialization.read() if input.specialization else None,
        progression_enabled=bool(input.progression_enabled),
        configuration=input.configuration.read() if input.configuration else None,
    )
    agent_id = random_id(Kind.AGENT, context.desk.new_id())
    record = await context.store.agents.create(context.signed_in, agent_id, wish, context.now)
    return CreateAgentPayload(agent=Agent.of(record))


async def update_agent(info: Info, input: UpdateAgentInput) -> UpdateAgentResult:
    """Change what is given of the viewer's agent. CONFLICT where `version` is not the newest: read it again."""
    context = info.context
    specialization = input.specialization
    wish = AgentChange(
        name=input.name,
        type=input.type,
        nationality=input.nationality,
        language=input.language,
        image=await _image(context, input),
        voice_id=KEEP if input.voice_id is strawberry.UNSET else input.voice_id,
        has_voice_chat=input.has_voice_chat,
        has_commentator=input.has_commentator,
        has_memory=input.has_memory,
        toolkit=None if input.toolkit is None else tuple(input.toolkit),
        specialization=KEEP
        if specialization is strawberry.UNSET
        else (specialization.read() if specialization is not None else None),
        progression_enabled=input.progression_enabled,
    )
    expected = Expected(input.id, input.version)
    record = await context.store.agents.update(context.signed_in, expected, wish, context.now)
    return UpdateAgentPayload(agent=Agent.of(record))


async def _image(context: Context, input: UpdateAgentInput) -> Keep | None:
    if input.image_url is strawberry.UNSET:
        return KEEP
    (record,) = await context.store.agents.get_many([input.id])
    return picture(context, input.image_url, agents.require_owned(record, context.signed_in).image, "input.imageUrl")


async def update_agent_configuration(
    info: Info, input: UpdateAgentConfigurationInput
) -> UpdateAgentConfigurationResult:
    """Replace the configuration of the viewer's agent, as a new version. With `version`, CONFLICT where that is not the
    newest.
    """
    context = info.context
    expected = Expected(input.agent_id, input.version)
    record = await context.store.agents.update_configuration(
        context.signed_in, expected, input.configuration.read(), context.now
    )
    return UpdateAgentConfigurationPayload(agent=Agent.of(record))


async def restore_agent_version(info: Info, input: RestoreAgentVersionInput) -> RestoreAgentVersionResult:
    """Make an old configuration the newest version; the versions between the two stay."""
    context = info.context
    expected = Expected(input.agent_id)
    record = await context.store.agents.restore_version(context.signed_in, expected, input.version, context.now)
    return RestoreAgentVersionPayload(agent=Agent.of(record))


async def delete_agent(info: Info, input: DeleteAgentInput) -> DeleteAgentResult:
    """Delete the viewer's agent for good and take it off the market. AGENT_IN_USE while a session of it runs."""
    context = info.context
    record = await context.store.agents.delete(context.signed_in, input.id, context.now)
    return DeleteAgentPayload(agent_id=strawberry.ID(record.id))


async def transfer_agent(info: Info, input: TransferAgentInput) -> TransferAgentResult:
    """Give the viewer's agent with its listing to another user; its creator stays. AGENT_IN_USE while a session of it
    runs.
    """
    context = info.context
    record = await context.store.agents.transfer(context.signed_in, input.agent_id, input.to_user_id, context.now)
    return TransferAgentPayload(agent=Agent.of(record))
