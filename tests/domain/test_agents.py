"""Agents: what a configuration may be, and what a change makes of an agent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain import revisions
from domain.agents import (
    Agent,
    AgentConfiguration,
    AgentType,
    AgentVersion,
    ModelConfig,
    Problem,
    Provider,
    ProviderLimits,
    SpecialistType,
    Specialization,
    check_configuration,
    require_owned,
    version_id,
    visible_to,
)
from domain.errors import BadInput, Conflict, InvalidConfiguration, NotFound
from domain.revisions import AgentChange, AgentWish
from domain.users import Role, Viewer
from tests.nouns import ADA, CATALOGUE, HOUR, MAX, NOW, a_configuration, a_wish, agent_id, an_agent

LATER = NOW + HOUR
VALORANT = Specialization(("Valorant",), "aim", SpecialistType.TRAINED)


def fields_of(problems: tuple[Problem, ...]) -> list[str]:
    return [problem.field for problem in problems]


def refused(wish: AgentWish) -> list[str]:
    with pytest.raises(InvalidConfiguration) as caught:
        revisions.create(agent_id("x"), wish, CATALOGUE, ADA, NOW)
    return [field for field, _ in caught.value.problems]


def changed(agent: Agent, wish: AgentChange, expected: int | None = 1) -> revisions.Revision:
    return revisions.change(agent, wish, expected, CATALOGUE, LATER)


# ---- the report


def test_a_valid_configuration_has_no_problems() -> None:
    full = a_configuration(
        primary=ModelConfig("deep-1", 1.0, 65_536),
        fallback=ModelConfig("swift-1", 0.0, 1),
        instructions="x" * 100,
        tools=("vision", "speech"),
        voice_id="v-1",
        memory=True,
    )
    assert check_configuration(full, CATALOGUE) == ()
    assert check_configuration(a_configuration(), CATALOGUE) == ()


def test_the_report_names_every_field() -> None:
    wrong = a_configuration(
        primary=ModelConfig("swift-1", 2.1, 8_193),
        fallback=ModelConfig("swift-1", -0.1, 0),
        instructions="x" * 101,
        tools=("vision", "laser", "speech"),
    )
    assert fields_of(check_configuration(wrong, CATALOGUE)) == [
        "configuration.primary.temperature",
        "configuration.primary.maxOutputTokens",
        "configuration.fallback.temperature",
        "configuration.fallback.maxOutputTokens",
        "configuration.fallback.model",
        "configuration.instructions",
        "configuration.tools",
        "configuration.voiceId",
    ]


def test_models_are_those_of_the_provider() -> None:
    foreign = a_configuration(primary=ModelConfig("open-1"), fallback=ModelConfig("nobody"))
    assert check_configuration(foreign, CATALOGUE) == (
        Problem("configuration.primary.model", "This is not a known model: choose of deep-1, swift-1."),
        Problem("configuration.fallback.model", "This is not a known model: choose of deep-1, swift-1."),
    )
    unknown = a_configuration(provider=Provider.GOOGLE)
    assert check_configuration(unknown, CATALOGUE) == (
        Problem("configuration.provider", "GOOGLE is not offered: choose GEMINI, OPENAI."),
    )


@pytest.mark.parametrize("temperature", [float("nan"), float("inf"), float("-inf")])
def test_a_temperature_that_is_no_number_is_a_problem(temperature: float) -> None:
    wrong = a_configuration(primary=ModelConfig("swift-1", temperature))
    assert fields_of(check_configuration(wrong, CATALOGUE)) == ["configuration.primary.temperature"]


def test_a_table_without_its_own_default_does_not_start() -> None:
    with pytest.raises(ValueError, match="default model"):
        ProviderLimits("gone", {})


# ---- creation


def test_an_agent_is_built_with_the_providers_default_model_and_its_first_version() -> None:
    wish = a_wish(voice_id=" v-1 ", has_voice_chat=True, has_memory=True, toolkit=("vision", "search", "vision"))
    made = revisions.create(agent_id("nova"), wish, CATALOGUE, ADA, NOW)
    agent = made.agent
    configuration = AgentConfiguration(
        Provider.GEMINI, ModelConfig("swift-1"), tools=("vision", "search"), voice_id="v-1", memory=True
    )
    assert agent.configuration == configuration
    assert (agent.owner_id, agent.creator_id, agent.version, agent.published) == (ADA, ADA, 1, False)
    assert (agent.provider, agent.voice_id, agent.has_memory) == (Provider.GEMINI, "v-1", True)
    assert agent.toolkit == ("vision", "search")
    first = AgentVersion(version_id(agent.id, 1), agent.id, 1, configuration, (), ADA, NOW)
    assert made.version == first


def test_what_the_configuration_says_counts_beside_the_rest() -> None:
    told = a_configuration(tools=("search",), instructions=" Be  kind. ", memory=True)
    agent = an_agent(wish=a_wish(configuration=told, toolkit=("vision",), voice_id="v-1", model="swift-1"))
    assert agent.configuration == a_configuration(
        tools=("vision", "search"), instructions="Be kind.", memory=True, voice_id="v-1"
    )


def test_contradictions_are_problems() -> None:
    told = a_configuration(provider=Provider.OPENAI, primary=ModelConfig("open-1"), voice_id="v-2")
    assert refused(a_wish(configuration=told, model="swift-1", voice_id="v-1")) == [
        "configuration.provider",
        "configuration.primary.model",
        "configuration.voiceId",
    ]


def test_voice_chat_needs_a_voice_and_a_specialist_a_field() -> None:
    assert refused(a_wish(has_voice_chat=True)) == ["configuration.voiceId"]
    assert refused(a_wish(has_voice_chat=True, toolkit=("speech",))) == ["configuration.voiceId"]
    assert refused(a_wish(type=AgentType.SPECIALIST)) == ["specialization.games", "specialization.focus"]
    empty = Specialization((), " ", SpecialistType.TRAINED)
    assert refused(a_wish(type=AgentType.SPECIALIST, specialization=empty)) == [
        "specialization.games",
        "specialization.focus",
    ]
    specialist = an_agent(wish=a_wish(type=AgentType.SPECIALIST, specialization=VALORANT))
    assert specialist.games == ("Valorant",)
    assert refused(a_wish(provider=Provider.GOOGLE)) == ["configuration.provider"]


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        (a_wish(name="\u200b"), "input.name"),
        (a_wish(name="x" * 81), "input.name"),
        (a_wish(nationality=""), "input.nationality"),
        (a_wish(language="klingon speech"), "input.language"),
        (a_wish(toolkit=("",)), "input.toolkit"),
        (
            a_wish(specialization=Specialization(("x" * 61,), "aim", SpecialistType.TRAINED)),
            "input.specialization.games",
        ),
        (a_wish(configuration=a_configuration(instructions="\ud800")), "input.configuration.instructions"),
        (a_wish(configuration=a_configuration(primary=ModelConfig(""))), "input.configuration.primary.model"),
    ],
)
def test_what_is_no_text_is_malformed(wish: AgentWish, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        revisions.create(agent_id("x"), wish, CATALOGUE, ADA, NOW)
    assert caught.value.field == field


# ---- change


def test_a_change_of_facts_makes_no_version() -> None:
    agent = an_agent()
    agent = replace(agent, image="a" * 64)
    made = changed(agent, AgentChange(name="Nova 2", image=None))
    assert made.agent == replace(agent, name="Nova 2", image=None, version=2, updated_at=LATER)
    assert (made.changes, made.version) == (("name", "imageUrl"), None)
    shown = revisions.with_image(agent, "b" * 64, LATER)
    assert shown.agent == replace(agent, image="b" * 64, version=2, updated_at=LATER)
    assert (shown.changes, shown.version) == (("imageUrl",), None)
    assert revisions.with_image(agent, "a" * 64, LATER) == revisions.Revision(agent)


def test_a_change_of_what_runs_makes_a_version() -> None:
    made = changed(an_agent(), AgentChange(voice_id="v-1", has_voice_chat=True, toolkit=("vision",)))
    assert made.changes == ("voiceId", "hasVoiceChat", "toolkit", "configuration")
    assert made.version is not None
    assert (made.version.version, made.version.changes) == (2, ("tools", "voiceId"))
    assert made.version.configuration == made.agent.configuration == a_configuration(tools=("vision",), voice_id="v-1")


def test_a_change_that_is_there_already_is_no_change_whatever_the_version() -> None:
    agent = an_agent(version=7)
    assert changed(agent, AgentChange(name="Nova"), 6) == revisions.Revision(agent)
    assert changed(agent, AgentChange(), None) == revisions.Revision(agent)


def test_a_stale_version_is_a_conflict() -> None:
    with pytest.raises(Conflict, match="at version 2, not 1"):
        changed(an_agent(version=2), AgentChange(name="Other"), 1)
    assert changed(an_agent(version=2), AgentChange(name="Other"), None).agent.version == 3


def test_a_change_must_leave_the_agent_valid() -> None:
    speaking = an_agent(wish=a_wish(voice_id="v-1", has_voice_chat=True))
    specialist = an_agent(wish=a_wish(type=AgentType.SPECIALIST, specialization=VALORANT))
    for agent, wish, field in (
        (speaking, AgentChange(voice_id=None), "configuration.voiceId"),
        (specialist, AgentChange(specialization=None), "specialization.games"),
        (specialist, AgentChange(toolkit=("laser",)), "configuration.tools"),
    ):
        with pytest.raises(InvalidConfiguration) as caught:
            changed(agent, wish)
        assert caught.value.problems[0][0] == field
    assert changed(speaking, AgentChange(voice_id=None, has_voice_chat=False)).agent.voice_id is None


def test_a_new_configuration_replaces_the_old_one_and_can_be_undone() -> None:
    agent = an_agent(wish=a_wish(toolkit=("vision",)))
    first = revisions.create(agent.id, a_wish(toolkit=("vision",)), CATALOGUE, ADA, NOW).version
    assert first is not None
    told = a_configuration(provider=Provider.OPENAI, primary=ModelConfig("open-1", 0.5), memory=True)
    second = revisions.configure(agent, told, 1, CATALOGUE, LATER)
    assert second.changes == ("provider", "hasMemory", "toolkit", "configuration")
    assert second.version is not None
    assert second.version.changes == ("provider", "primary", "tools", "memory")
    third = revisions.restore(second.agent, first, 2, CATALOGUE, LATER + HOUR)
    assert third.version is not None
    assert (third.version.version, third.version.restored_version) == (3, 1)
    assert third.agent.configuration == third.version.configuration == agent.configuration
    assert revisions.restore(third.agent, first, None, CATALOGUE, LATER) == revisions.Revision(third.agent)


def test_an_old_version_is_restored_only_while_its_models_are_there() -> None:
    agent = an_agent()
    old = AgentVersion("x", agent.id, 1, a_configuration(primary=ModelConfig("retired-1")), (), ADA, NOW)
    with pytest.raises(InvalidConfiguration) as caught:
        revisions.restore(agent, old, None, CATALOGUE, LATER)
    assert [field for field, _ in caught.value.problems] == ["configuration.primary.model"]


# ---- who sees it


def test_who_sees_an_agent() -> None:
    viewers = [None, Viewer(MAX), Viewer(ADA), Viewer(MAX, Role.MODERATOR), Viewer(MAX, Role.ADMIN)]

    def seen(agent: Agent) -> list[bool]:
        return [visible_to(agent, viewer) for viewer in viewers]

    assert seen(an_agent()) == [False, False, True, True, True]
    assert seen(an_agent(published=True)) == [True] * 5
    assert seen(an_agent(deleted_at=NOW)) == [False] * 5


def test_missing_anothers_and_deleted_look_the_same() -> None:
    assert require_owned(an_agent(), ADA) == an_agent()
    messages = set()
    for agent, viewer_id in ((None, ADA), (an_agent(published=True), MAX), (an_agent(deleted_at=NOW), ADA)):
        with pytest.raises(NotFound) as caught:
            require_owned(agent, viewer_id)
        messages.add(caught.value.message)
    assert len(messages) == 1


# ---- what differs


def test_a_diff_names_each_field_with_what_it_was_and_is() -> None:
    plain = a_configuration()
    assert revisions.diff(plain, plain) == ()
    rich = a_configuration(
        provider=Provider.OPENAI,
        primary=ModelConfig("deep-1", 0.5, 100),
        fallback=ModelConfig("swift-1"),
        instructions="Be kind.",
        tools=("vision", "search"),
        voice_id="v-1",
        memory=True,
    )
    change = revisions.FieldChange
    assert revisions.diff(plain, rich) == (
        change("provider", "GEMINI", "OPENAI"),
        change("primary.model", "swift-1", "deep-1"),
        change("primary.temperature", None, "0.5"),
        change("primary.maxOutputTokens", None, "100"),
        change("fallback.model", None, "swift-1"),
        change("instructions", None, "Be kind."),
        change("tools", None, "vision, search"),
        change("voiceId", None, "v-1"),
        change("memory", "false", "true"),
    )
    back = tuple(change(each.field, each.after, each.before) for each in revisions.diff(plain, rich))
    assert revisions.diff(rich, plain) == back
