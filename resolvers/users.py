"""Signing up and in, and one's own profile."""

from __future__ import annotations

from typing import Annotated

import strawberry

from domain import texts, users
from domain.errors import Unauthenticated
from domain.texts import KEEP, Keep
from domain.users import Channel, MailRhythm, NotificationKind, PreferencesChange, ProfileChange
from graph.context import Context, Info
from graph.errors import BadCredentials, Conflict, EmailTaken, NotFound, WeakPassword
from graph.scalars import zone_of
from graph.types.users import MAIL_RHYTHM, Preferences, User, Viewer
from integrations.services import SignIn
from resolvers import nodes
from resolvers.images import picture
from resolvers.legal import AcceptLegalInput

TIMEZONE_DEFAULT = "UTC"
NAME_DEFAULT = "New player"  # of an account whose sign-up was cut off; never a part of the e-mail


@strawberry.input
class SignUpInput:
    email: str
    password: str
    display_name: str
    timezone: str | None = None
    referral_code: str | None = strawberry.field(
        default=None, description="1 to 64 letters, digits, - and _: kept for the referral programme, which is to come."
    )
    accepted_legal: list[AcceptLegalInput] | None = strawberry.field(
        default=None, description="The documents that were shown and accepted; what is left out is in `legalDue`."
    )


@strawberry.input
class SignInInput:
    email: str
    password: str


@strawberry.input
class RefreshTokenInput:
    refresh_token: str


@strawberry.input
class UpdateProfileInput:
    display_name: str | None = None
    timezone: str | None = None
    avatar_url: str | None = strawberry.field(
        default=strawberry.UNSET, description="null removes it; a new one comes by createImageUpload."
    )
    nationality: str | None = strawberry.UNSET
    locale: str | None = strawberry.field(
        default=strawberry.UNSET, description="The language of what the store writes to you, such as es-MX."
    )


@strawberry.input
class NotificationPreferenceInput:
    kind: NotificationKind
    channels: list[Channel]


@strawberry.input
class UpdatePreferencesInput:
    notifications: list[NotificationPreferenceInput] | None = None
    show_profile: bool | None = None
    show_badges: bool | None = None
    mail_rhythm: MailRhythm | None = strawberry.field(default=None, description=MAIL_RHYTHM)


@strawberry.type
class SignUpPayload:
    id_token: str
    refresh_token: str
    expires_in_seconds: int
    viewer: Viewer


@strawberry.type
class SignInPayload:
    id_token: str
    refresh_token: str
    expires_in_seconds: int
    viewer: Viewer


@strawberry.type
class RefreshTokenPayload:
    id_token: str
    refresh_token: str
    expires_in_seconds: int
    viewer: Viewer


@strawberry.type
class SignOutPayload:
    signed_out: bool


@strawberry.type
class UpdateProfilePayload:
    user: User


@strawberry.type
class UpdatePreferencesPayload:
    preferences: Preferences


SignUpResult = Annotated[
    SignUpPayload | EmailTaken | WeakPassword | NotFound | Conflict, strawberry.union("SignUpResult")
]
SignInResult = Annotated[SignInPayload | BadCredentials, strawberry.union("SignInResult")]
RefreshTokenResult = Annotated[RefreshTokenPayload | BadCredentials, strawberry.union("RefreshTokenResult")]
SignOutResult = Annotated[SignOutPayload | NotFound, strawberry.union("SignOutResult")]
UpdateProfileResult = Annotated[UpdateProfilePayload | NotFound, strawberry.union("UpdateProfileResult")]
UpdatePreferencesResult = Annotated[UpdatePreferencesPayload | NotFound, strawberry.union("UpdatePreferencesResult")]


async def viewer(info: Info) -> Viewer | None:
    """Who asks, with all that is theirs: wallet, sessions, notifications. Null for a guest."""
    return Viewer(id=strawberry.ID(info.context.user_id)) if info.context.user_id else None


async def user(info: Info, id: strawberry.ID) -> User | None:
    """The public profile of a user; null where there is none."""
    return await nodes.user(info.context, id)


async def sign_up(info: Info, input: SignUpInput) -> SignUpResult:
    """Make an account with an e-mail address and a password, and sign in. EMAIL_TAKEN and WEAK_PASSWORD say what to
    change.
    """
    name = texts.line(input.display_name, "input.displayName", users.DISPLAY_NAME_CHARACTERS_MAX)
    timezone = zone_of(input.timezone or TIMEZONE_DEFAULT, "input.timezone").key
    code = users.require_referral_code(input.referral_code)
    context = info.context
    accepted = [(each.document, each.version) for each in input.accepted_legal or ()]
    context.store.legal.require_current(accepted)  # before there is an account
    signed = await context.desk.identity.sign_up(input.email, input.password, device=context.device)
    viewer = await _enter(context, signed, name, timezone, code)
    if accepted:
        await context.store.legal.accept(context.signed_in, accepted, context.now)
    return SignUpPayload(
        id_token=signed.id_token,
        refresh_token=signed.refresh_token,
        expires_in_seconds=signed.expires_in_seconds,
        viewer=viewer,
    )


async def sign_in(info: Info, input: SignInInput) -> SignInResult:
    """Sign in with an e-mail address and a password. An unknown address and a wrong password are one refusal,
    BAD_CREDENTIALS.
    """
    signed = await info.context.desk.identity.sign_in(input.email, input.password, device=info.context.device)
    return SignInPayload(
        id_token=signed.id_token,
        refresh_token=signed.refresh_token,
        expires_in_seconds=signed.expires_in_seconds,
        viewer=await _enter(info.context, signed),
    )


async def refresh_token(info: Info, input: RefreshTokenInput) -> RefreshTokenResult:
    """A new id token for a refresh token; keep the refresh token that comes with it. BAD_CREDENTIALS once it was
    revoked.
    """
    signed = await info.context.desk.identity.refresh(input.refresh_token, device=info.context.device)
    return RefreshTokenPayload(
        id_token=signed.id_token,
        refresh_token=signed.refresh_token,
        expires_in_seconds=signed.expires_in_seconds,
        viewer=await _enter(info.context, signed),
    )


async def sign_out(info: Info) -> SignOutResult:
    """End all sign-ins of the viewer, on every device; revokeSignIn ends one."""
    identity = info.context.identity
    if identity is None:
        raise Unauthenticated("Nobody is signed in: there is nothing to sign out of.")
    await info.context.desk.identity.revoke(identity.uid)
    return SignOutPayload(signed_out=True)


async def update_profile(info: Info, input: UpdateProfileInput) -> UpdateProfileResult:
    """Change what is given of the viewer's profile; what is absent stays."""
    context = info.context
    wish = ProfileChange(
        display_name=input.display_name,
        timezone=None if input.timezone is None else zone_of(input.timezone, "input.timezone").key,
        avatar=await _avatar(context, input.avatar_url),
        nationality=KEEP if input.nationality is strawberry.UNSET else input.nationality,
        locale=KEEP if input.locale is strawberry.UNSET else input.locale,
    )
    record = await context.store.users.update_profile(context.signed_in, wish, context.now)
    return UpdateProfilePayload(user=User.of(record))


async def _avatar(context: Context, url: str | None) -> Keep | None:
    return KEEP if url is strawberry.UNSET else picture(context, url, (await context.user()).avatar, "input.avatarUrl")


async def update_preferences(info: Info, input: UpdatePreferencesInput) -> UpdatePreferencesResult:
    """Change what is given of the viewer's preferences; kinds of notification that are not named stay."""
    context = info.context
    chosen = {each.kind: tuple(each.channels) for each in input.notifications or ()}
    wish = PreferencesChange(chosen, input.show_profile, input.show_badges, input.mail_rhythm)
    record = await context.store.users.update_preferences(context.signed_in, wish, context.now)
    return UpdatePreferencesPayload(preferences=Preferences.of(record.preferences))


async def _enter(
    context: Context,
    signed: SignIn,
    display_name: str = NAME_DEFAULT,
    timezone: str = TIMEZONE_DEFAULT,
    referral_code: str | None = None,
) -> Viewer:
    """Go on as the user who signed in. A user whose making was cut off at the sign-up is made now."""
    identity = await context.desk.identity.verify(signed.id_token, check_revoked=False)
    record = await context.store.users.register(
        identity.uid,
        identity.email,
        email_verified=identity.email_verified,
        display_name=display_name,
        timezone=timezone,
        now=context.now,
        referral_code=referral_code,
    )
    users.require_active(record)
    if identity.email_verified:
        await context.store.orders.claim(record.id, record.email, context.now)
    context.identity, context.user_id, context.token = identity, record.id, signed.id_token
    return Viewer(id=strawberry.ID(record.id))
