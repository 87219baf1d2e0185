"""Which environments describe a store that may start."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from settings import CURSOR_SECRET_CHARACTERS_MIN, Settings, SettingsError, require_startable


@pytest.mark.parametrize("env", ["local", "production"])
def test_a_secret_that_can_be_guessed_is_refused(env: str) -> None:
    with pytest.raises(SettingsError, match="JIGA_CURSOR_SECRET has fewer than 16 characters"):
        require_startable(Settings(env=env, cursor_secret=SecretStr("x" * (CURSOR_SECRET_CHARACTERS_MIN - 1))))


@pytest.mark.parametrize("secret", ["", "x" * CURSOR_SECRET_CHARACTERS_MIN])
def test_a_long_one_is_taken_and_an_empty_one_is_none(secret: str) -> None:
    require_startable(Settings(cursor_secret=SecretStr(secret)))
    with pytest.raises(SettingsError) as refused:
        require_startable(Settings(env="production", cursor_secret=SecretStr(secret)))
    assert ("JIGA_CURSOR_SECRET is missing" in str(refused.value)) == (not secret)
