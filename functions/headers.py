"""What every answer tells a browser: guess no types, show us in no frame, run nothing, keep nothing (OWASP's list)."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLOSED = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""For answers that are no page. A page brings its own policy, and keeps it."""

YEAR_SECONDS = 31_536_000  # what the browsers' preload lists ask for


class SecurityHeaders:
    """Pure ASGI middleware. `secure` is production: from then on, browsers ask us over TLS alone.

    What an answer has set already stays, so that a page can open what it needs.
    """

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self._app = app
        self._set = {
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "X-Frame-Options": "DENY",
            "Content-Security-Policy": CLOSED,
            "Cross-Origin-Opener-Policy": "same-origin",
        }
        if secure:
            self._set["Strict-Transport-Security"] = f"max-age={YEAR_SECONDS}; includeSubDomains"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._set.items():
                    headers.setdefault(name, value)
                if scope["path"] == "/graphql":
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, told)
