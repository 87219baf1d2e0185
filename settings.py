"""All settings, read once from the environment into one frozen value. What is missing is said by name."""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.agents import Catalogue, ModelLimits, Provider, ProviderLimits, Tool
from domain.money import BPS, Dof, money_from_decimal
from domain.payouts import PayoutTerms
from domain.policy import Policy
from domain.pricing import Surcharges
from domain.purchases import Package, Tier
from domain.revenue import Shares


class SettingsError(Exception):
    """The environment does not describe a store that may start; the message names each setting."""


class Settings(BaseSettings):
    """The environment. Every name is read with the prefix `JIGA_`, save those that the providers' own tools fix."""

    model_config = SettingsConfigDict(env_prefix="JIGA_", frozen=True, extra="ignore", populate_by_name=True)

    env: Literal["local", "production"] = "local"
    port: int = Field(default=8000, ge=0, le=65535, validation_alias="PORT")
    host: str = "127.0.0.1"
    public_url: str | None = None
    data_dir: Path = Path(".jiga")
    demo: bool = True
    catalogue: Path = Path(__file__).with_name("catalogue.toml")

    project: str = Field(default="jiga-local", validation_alias="GOOGLE_CLOUD_PROJECT")
    database: str = "(default)"
    firestore_emulator_host: str | None = Field(default=None, validation_alias="FIRESTORE_EMULATOR_HOST")
    auth_emulator_host: str | None = Field(default=None, validation_alias="FIREBASE_AUTH_EMULATOR_HOST")
    firebase_api_key: SecretStr | None = None
    cursor_secret: SecretStr | None = None
    allowed_origins: tuple[str, ...] = ()

    money_mode: Literal["live", "test"] = "live"
    shopify_shop: str | None = None
    shopify_admin_token: SecretStr | None = None
    shopify_variants: dict[str, str] = {}
    shopify_webhook_secret: SecretStr | None = Field(default=None, validation_alias="SHOPIFY_WEBHOOK_SECRET")

    stripe_api_key: SecretStr | None = Field(default=None, validation_alias="STRIPE_API_KEY")
    stripe_webhook_secret: SecretStr | None = Field(default=None, validation_alias="STRIPE_WEBHOOK_SECRET")

    tasks_queue: str | None = None
    tasks_location: str | None = None
    tasks_audience: str | None = None
    tasks_service_account: str | None = None

    event_retention_days: int = Field(default=7, ge=1, le=90)
    inbox_retention_days: int = Field(default=90, ge=1, le=400)
    schedule_seconds: float = Field(default=5.0, ge=0.1, le=3600)

    @property
    def is_production(self) -> bool:
        return self.env == "production"

    @property
    def shopify_secrets(self) -> tuple[str, ...] | None:
        """The secrets that sign Shopify's webhooks: several while one is being rotated, none where the door is shut.

        None where nothing is set at all: a local store then makes its own.
        """
        return _listed(self.shopify_webhook_secret)

    @property
    def stripe_secrets(self) -> tuple[str, ...] | None:
        """The same for Stripe's webhooks."""
        return _listed(self.stripe_webhook_secret)

    @property
    def event_retention(self) -> timedelta:
        return timedelta(days=self.event_retention_days)

    @property
    def inbox_retention(self) -> timedelta:
        return timedelta(days=self.inbox_retention_days)


def _listed(secret: SecretStr | None) -> tuple[str, ...] | None:
    if secret is None:
        return None
    return tuple(part.strip() for part in secret.get_secret_value().split(",") if part.strip())


_NEEDED_IN_PRODUCTION = {
    "GOOGLE_CLOUD_PROJECT": "project",
    "JIGA_PUBLIC_URL": "public_url",
    "JIGA_FIREBASE_API_KEY": "firebase_api_key",
    "JIGA_CURSOR_SECRET": "cursor_secret",
    "JIGA_SHOPIFY_SHOP": "shopify_shop",
    "JIGA_SHOPIFY_ADMIN_TOKEN": "shopify_admin_token",
    "SHOPIFY_WEBHOOK_SECRET": "shopify_webhook_secret",
    "STRIPE_API_KEY": "stripe_api_key",
    "STRIPE_WEBHOOK_SECRET": "stripe_webhook_secret",
    "JIGA_TASKS_QUEUE": "tasks_queue",
    "JIGA_TASKS_LOCATION": "tasks_location",
    "JIGA_TASKS_AUDIENCE": "tasks_audience",
    "JIGA_TASKS_SERVICE_ACCOUNT": "tasks_service_account",
}
_FORBIDDEN_IN_PRODUCTION = {
    "FIRESTORE_EMULATOR_HOST": "firestore_emulator_host",
    "FIREBASE_AUTH_EMULATOR_HOST": "auth_emulator_host",
}


def require_startable(settings: Settings) -> None:
    """Refuse a production store that lacks a setting or carries an emulator's (product.md). Raises SettingsError."""
    if not settings.is_production:
        return
    problems = []
    for name, attribute in _NEEDED_IN_PRODUCTION.items():
        value = getattr(settings, attribute)
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not plain or (attribute == "project" and plain == "jiga-local"):
            problems.append(f"{name} is missing: set it")
    for name, attribute in _FORBIDDEN_IN_PRODUCTION.items():
        if getattr(settings, attribute):
            problems.append(f"{name} points at an emulator: unset it")
    if problems:
        raise SettingsError("A production store cannot start. " + "; ".join(problems) + ".")


def read_policy(settings: Settings) -> Policy:
    """The product's tables, from the catalogue file. Raises SettingsError naming what is wrong."""
    try:
        tables = tomllib.loads(settings.catalogue.read_text("utf-8"))
        return _policy(settings, tables)
    except (OSError, KeyError, TypeError, ValueError) as problem:
        raise SettingsError(f"The catalogue {settings.catalogue} cannot be used: {problem!r}.") from problem


def _policy(settings: Settings, tables: dict[str, Any]) -> Policy:
    revenue, surcharges, sessions = tables["revenue"], tables["surcharges"], tables["sessions"]
    platform_bps, creator_bps = revenue["platform_bps"], revenue["creator_bps"]
    return Policy(
        packages=tuple(_package(row) for row in tables["packages"]),
        shares=Shares(BPS - platform_bps - creator_bps, platform_bps, creator_bps),
        surcharges=Surcharges(
            high_speed_vision=Dof(surcharges["high_speed_vision"]),
            voice=Dof(surcharges["voice"]),
            commentator=Dof(surcharges["commentator"]),
        ),
        catalogue=_catalogue(tables),
        payouts=_payout_terms(tables["payouts"]),
        trial_minutes=sessions["trial_minutes"],
        owned_minutes=sessions["owned_minutes"],
        maturing=timedelta(days=revenue["maturing_days"]),
        event_retention=settings.event_retention,
        inbox_retention=settings.inbox_retention,
    )


def _package(row: dict[str, Any]) -> Package:
    price = money_from_decimal(row["price"], row["currency"])
    if price is None:
        raise ValueError(f"the price of {row['sku']} is no amount of {row['currency']}")
    return Package(row["sku"], row["title"], Tier(row["tier"]), Dof(row["dof"]), Dof(row["bonus_dof"]), price)


def _payout_terms(told: dict[str, Any]) -> PayoutTerms:
    minimum = money_from_decimal(told["minimum"], told["currency"])
    rate = money_from_decimal(told["rate_per_million_dof"], told["currency"])
    if minimum is None or rate is None or rate.minor_units < 1:
        raise ValueError(f"the payout minimum or rate is no amount of {told['currency']}")
    return PayoutTerms(rate.minor_units, told["currency"], minimum)


def _catalogue(tables: dict[str, Any]) -> Catalogue:
    providers = {
        Provider(name): ProviderLimits(
            default_model=told["default_model"],
            models={model: ModelLimits(**limits) for model, limits in told["models"].items()},
        )
        for name, told in tables["providers"].items()
    }
    tools = {name: Tool(name, **told) for name, told in tables["tools"].items()}
    return Catalogue(providers, tools, tables["agents"]["instructions_characters_max"])
