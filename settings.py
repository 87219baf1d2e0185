"""All settings, read once from the environment into one frozen value. What is missing is said by name."""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.agents import Catalogue, ModelLimits, Provider, ProviderLimits, Rank, Tool
from domain.badges import Badge
from domain.legal import LegalDocument
from domain.money import BPS, Dof, money_from_decimal
from domain.payouts import PayoutTerms
from domain.policy import ROWS_MAX, Policy
from domain.pricing import Surcharges
from domain.progress import Achievement, Level, Metric, Progression, RankRule
from domain.purchases import Package, Tier
from domain.revenue import Shares

CURSOR_SECRET_CHARACTERS_MIN = 16  # whoever has one cursor may guess at home: 64 bits, even in hex, are too many to try
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?")


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
    app_check_apps: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    project_number: str | None = Field(default=None, pattern=r"^[0-9]+$")
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: int = Field(default=0, ge=0, le=10)
    rate_limits: dict[str, int] = {}
    redis_url: SecretStr | None = None
    stall_milliseconds: int = Field(default=0, ge=0, le=60_000)
    otlp_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")

    money_mode: Literal["live", "test"] = "live"
    shopify_shop: str | None = None
    shopify_admin_token: SecretStr | None = None
    shopify_variants: dict[str, str] = {}
    shopify_webhook_secret: SecretStr | None = Field(default=None, validation_alias="SHOPIFY_WEBHOOK_SECRET")

    stripe_api_key: SecretStr | None = Field(default=None, validation_alias="STRIPE_API_KEY")
    stripe_webhook_secret: SecretStr | None = Field(default=None, validation_alias="STRIPE_WEBHOOK_SECRET")

    algolia_app_id: str | None = Field(default=None, validation_alias="ALGOLIA_APP_ID")
    algolia_api_key: SecretStr | None = Field(default=None, validation_alias="ALGOLIA_API_KEY")
    algolia_index: str | None = None

    images_bucket: str | None = None
    images_origin: str | None = None

    sendgrid_api_key: SecretStr | None = Field(default=None, validation_alias="SENDGRID_API_KEY")
    mail_from: str | None = None
    webhook_loopback: bool = False

    ga4_measurement_id: str | None = Field(default=None, validation_alias="GA4_MEASUREMENT_ID")
    ga4_api_secret: SecretStr | None = Field(default=None, validation_alias="GA4_API_SECRET")

    tasks_queue: str | None = None
    tasks_location: str | None = None
    tasks_audience: str | None = None
    tasks_service_account: str | None = None

    event_retention_days: int = Field(default=7, ge=1, le=90)
    inbox_retention_days: int = Field(default=90, ge=1, le=400)
    schedule_seconds: float = Field(default=5.0, ge=0.1, le=3600)
    drain_seconds: float = Field(default=0.0, ge=0, le=8)

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        """Exact ones: `*` would let any page act with a token that it got hold of."""
        for origin in given:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin: write scheme://host or scheme://host:port, without a path")
        return given

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
    def ga4_secret(self) -> str:
        """Empty where none is set."""
        return self.ga4_api_secret.get_secret_value() if self.ga4_api_secret else ""

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


_ALGOLIA = {
    "ALGOLIA_APP_ID": "algolia_app_id",
    "ALGOLIA_API_KEY": "algolia_api_key",
    "JIGA_ALGOLIA_INDEX": "algolia_index",
}
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
    **_ALGOLIA,
    "JIGA_IMAGES_BUCKET": "images_bucket",
    "SENDGRID_API_KEY": "sendgrid_api_key",
    "JIGA_MAIL_FROM": "mail_from",
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
    """Refuse settings that are half made, a secret that can be guessed, and a production store that lacks a setting or
    carries an emulator's. Raises SettingsError."""
    if bool(settings.ga4_measurement_id) != bool(settings.ga4_secret):
        raise SettingsError("Google Analytics is half set up: set GA4_MEASUREMENT_ID and GA4_API_SECRET, or neither.")
    if bool(settings.app_check_apps) != bool(settings.project_number):  # half of it would let everybody in
        raise SettingsError("App Check is half set up: set JIGA_APP_CHECK_APPS and JIGA_PROJECT_NUMBER, or neither.")
    if settings.cursor_secret and len(settings.cursor_secret) < CURSOR_SECRET_CHARACTERS_MIN:
        raise SettingsError(
            f"JIGA_CURSOR_SECRET has fewer than {CURSOR_SECRET_CHARACTERS_MIN} characters, which can be guessed: make "
            "one with `openssl rand -hex 24`."
        )
    given = {name: bool(getattr(settings, attribute)) for name, attribute in _ALGOLIA.items()}
    if not settings.is_production:
        if any(given.values()) and not all(given.values()):
            lacking = ", ".join(name for name, is_there in given.items() if not is_there)
            raise SettingsError(f"Algolia is half set up: set {lacking} too, or none of {', '.join(given)}.")
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
    if settings.webhook_loopback:
        problems.append("JIGA_WEBHOOK_LOOPBACK lets webhooks reach this machine: unset it")
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
    for name in ("packages", "badges", "achievements", "legal"):
        if len(tables.get(name, ())) > ROWS_MAX:
            raise ValueError(f"at most {ROWS_MAX} {name} are listed: leave out {len(tables[name]) - ROWS_MAX} of them")
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
        legal=tuple(LegalDocument(**row) for row in tables.get("legal", ())),
        payouts=_payout_terms(tables["payouts"]),
        trial_minutes=sessions["trial_minutes"],
        owned_minutes=sessions["owned_minutes"],
        maturing=timedelta(days=revenue["maturing_days"]),
        event_retention=settings.event_retention,
        inbox_retention=settings.inbox_retention,
        progression=_progression(tables),
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


def _progression(tables: dict[str, Any]) -> Progression:
    """The rules of badges, achievements, ranks and levels; a catalogue without them has none."""
    stars = tables.get("five_stars", {"rating_milli": 5_000, "ratings": 1})
    rules = Progression(
        badges=tuple(Badge(**row | {"tier": Rank(row["tier"])}) for row in tables.get("badges", ())),
        achievements=tuple(
            Achievement(**row | {"metric": Metric(row["metric"])}) for row in tables.get("achievements", ())
        ),
        ranks=tuple(RankRule(**row | {"rank": Rank(row["rank"])}) for row in tables.get("ranks", ())),
        levels=tuple(Level(**row) for row in tables.get("levels", ())),
        five_stars_milli=stars["rating_milli"],
        five_stars_ratings=stars["ratings"],
    )
    for keys in ([each.key for each in rules.badges], [each.key for each in rules.achievements]):
        if len(set(keys)) < len(keys):
            raise ValueError(f"a key names one badge or achievement, and one of {keys} is there twice")
    if [level.hours for level in rules.levels] != sorted(level.hours for level in rules.levels):
        raise ValueError("the levels ascend by their hours")
    return rules


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
