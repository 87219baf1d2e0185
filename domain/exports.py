"""The address of an export: signed, short-lived, and good for one user's data alone."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.ids import Kind, is_id

EXPORT_TTL = timedelta(minutes=10)  # time to click; whoever finds the address later finds nothing
TOKEN_CHARACTERS_MAX = 400  # several times a real one
_MAC_BYTES = 32


@dataclass(frozen=True, slots=True)
class ExportLinks:
    """Makes addresses and reads them again. `base_url` is where the world reaches the store."""

    secret: bytes
    base_url: Callable[[], str]

    def make(self, user_id: str, now: datetime) -> str:
        """The address of the user's data, for ten minutes."""
        body = json.dumps([user_id, (now + EXPORT_TTL).timestamp()]).encode()
        token = base64.urlsafe_b64encode(self._mac(body) + body).decode().rstrip("=")
        return f"{self.base_url()}/exports/{token}"

    def read(self, token: str, now: datetime) -> str | None:
        """Whose data a token opens; None for one that is not ours, was changed, or has expired (T-P06)."""
        try:
            if len(token) > TOKEN_CHARACTERS_MAX:
                return None
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            mac, body = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
            if not hmac.compare_digest(mac, self._mac(body)):
                return None
            user_id, until = json.loads(body)
        except ValueError:
            return None
        return user_id if now.timestamp() < until and is_id(user_id, Kind.USER) else None

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self.secret, b"export\0" + body, "sha256")
