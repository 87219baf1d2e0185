"""What every identity gateway asks of an e-mail, a password and a token, and how it says no."""

from __future__ import annotations

import unicodedata

from domain.errors import BadCredentials, BadInput, EmailTaken, Unauthenticated, WeakPassword
from domain.texts import is_flooded

DEADLINE_SECONDS = 2.0  # services.IdentityGateway
CLOCK_SKEW_SECONDS = 10  # T-A04: a token from 5 s ahead is taken, from 61 s refused; expiry is exact

EMAIL_CHARACTERS_MAX = 254  # RFC 5321, 4.5.3.1.3: a path of 256 octets less its brackets
PASSWORD_CHARACTERS_MIN, PASSWORD_CHARACTERS_MAX = 8, 256
TYPED_CHARACTERS_MAX = 4096  # beyond this nobody typed it: refused before any work is spent on it
TOKEN_CHARACTERS_MAX = 8192  # a Firebase ID token has 1 to 3 thousand characters, custom claims included

# The most common leaked passwords that are long enough to pass the length rule. NIST SP 800-63B, 3.1.1.2.
_COMMON_TEXT = """
password password1 password12 password123 passw0rd p@ssw0rd 12345678 123456789 1234567890 87654321
11111111 00000000 88888888 12341234 123123123 qwertyui qwerty12 qwerty123 qwertyuiop 1q2w3e4r 1qaz2wsx
zaq12wsx q1w2e3r4 asdfghjk asdfghjkl abcd1234 abc12345 iloveyou sunshine princess football baseball
superman trustno1 starwars whatever computer internet michelle jennifer letmein1 welcome1 welcome123
admin123 changeme secret123
"""
_COMMON_PASSWORDS = frozenset(_COMMON_TEXT.split())


def normalised_email(email: str) -> str:
    """The one spelling of an e-mail address by which an account is found.

    Raises BadInput for what cannot be an address. Only an answered mail proves that an address exists.
    """
    if len(email) > TYPED_CHARACTERS_MAX:  # before normalising, which can make a text 18 times as long
        raise bad_email(f"it is longer than {EMAIL_CHARACTERS_MAX} characters")
    if is_flooded(email):
        raise bad_email("a letter carries more marks than any writing has")
    address = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", email).strip().casefold())
    name, _, host = address.rpartition("@")
    if not 1 <= len(name) <= 64 or "@" in name or not all(host.split(".")) or "." not in host:
        raise bad_email("it must have the form name@example.org")
    if len(address) > EMAIL_CHARACTERS_MAX:
        raise bad_email(f"it is longer than {EMAIL_CHARACTERS_MAX} characters")
    if any(character in '()<>[]\\,;:"' or unicodedata.category(character)[0] in "CZ" for character in address):
        raise bad_email("it holds a space, a bracket, or a character that cannot be seen")
    return address


def typed_password(password: str) -> str:
    """The password as it was typed. Raises BadInput for text that no keyboard makes."""
    if len(password) > TYPED_CHARACTERS_MAX:
        raise BadInput(
            f"The password is too long: send at most {PASSWORD_CHARACTERS_MAX} characters.", field="input.password"
        )
    if "\0" in password or any("\ud800" <= character <= "\udfff" for character in password):
        raise BadInput("The password holds a character that is not text: type it again.", field="input.password")
    return password


def new_password(password: str, email: str) -> str:
    """A password that a new account may have. Raises WeakPassword, which says what to choose, or BadInput."""
    typed = typed_password(password)
    if not PASSWORD_CHARACTERS_MIN <= len(typed) <= PASSWORD_CHARACTERS_MAX:
        raise WeakPassword(f"Choose a password of {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters.")
    folded = typed.strip().casefold()
    if folded in (email, email.rpartition("@")[0]):
        raise WeakPassword("The password is your e-mail address: choose one that nobody can look up.")
    if folded in _COMMON_PASSWORDS:
        raise WeakPassword("This password is among those that are guessed first: choose another one.")
    return typed


def bad_email(why: str) -> BadInput:
    return BadInput(f"This is not an e-mail address: {why}.", field="input.email")


def is_token(text: str) -> bool:
    """Whether a text can be a token at all: nothing else is hashed, decoded or sent on."""
    return text.isascii() and 0 < len(text) <= TOKEN_CHARACTERS_MAX


def not_signed_in() -> Unauthenticated:
    return Unauthenticated("The ID token is not valid, or no longer: refresh it, or sign in again.")


def sign_in_again() -> BadCredentials:
    return BadCredentials("The refresh token is not valid, or no longer: sign in again.")


def wrong_credentials() -> BadCredentials:
    """One answer for an unknown e-mail and a wrong password, so that nobody can ask who has an account."""
    return BadCredentials("The e-mail or the password is wrong: check both and try again.")


def email_taken() -> EmailTaken:
    return EmailTaken("There is an account with this e-mail: sign in, or use another address.")
