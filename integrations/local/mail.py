"""Mail and push without an account: files that a developer can read, in the store's own directory."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Sequence
from email.errors import MessageError
from email.message import EmailMessage
from pathlib import Path

from integrations.services import Mail, MessageRejected, Push

FILES_MAX = 1_000  # the oldest mails go: a developer's directory stays small
LINES_BYTES_MAX = 1_000_000  # of pushes; then the file begins anew


class LocalMail:
    """The mail gateway (services.MailGateway) that writes each mail as an .eml file, which any mail program opens."""

    def __init__(self, directory: Path, sender: str) -> None:
        self._directory = directory
        self._sender = sender
        self._lock = threading.Lock()

    async def send(self, mail: Mail) -> None:
        """Write the mail; the same one again is the same file. Raises MessageRejected for one that is no mail."""
        await asyncio.to_thread(self._write, mail)

    async def close(self) -> None:
        """Nothing is open."""

    def _write(self, mail: Mail) -> None:
        content = self._content(mail)
        with self._lock:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            kept = sorted(self._directory.glob("*.eml"), key=lambda path: path.stat().st_mtime)
            for path in kept[: max(0, len(kept) + 1 - FILES_MAX)]:
                path.unlink(missing_ok=True)
            with open(self._directory / f"{mail.id}.eml", "wb", opener=_private) as file:
                file.write(content)

    def _content(self, mail: Mail) -> bytes:
        """The mail as a file. What no header or no encoding takes today, none takes tomorrow."""
        message = EmailMessage()
        try:
            message["From"], message["To"], message["Subject"] = self._sender, mail.to, mail.subject_line
            message["X-Jiga-Notification"] = mail.id
            message.set_content(mail.text, cte="8bit")
            return message.as_bytes()
        except (ValueError, MessageError) as fault:
            raise MessageRejected(f"the mail cannot be written: {type(fault).__name__}") from None


class LocalPush:
    """The push gateway (services.PushGateway) that writes each push as a line of JSON."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    async def send(self, push: Push, tokens: Sequence[str]) -> list[str]:
        """Write the push; every token counts as registered."""
        await asyncio.to_thread(self._write, push, list(tokens))
        return []

    async def close(self) -> None:
        """Nothing is open."""

    def _write(self, push: Push, tokens: list[str]) -> None:
        told = {"id": push.id, "title": push.title, "text": push.text, "tokens": tokens}
        with self._lock:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            full = self._path.exists() and self._path.stat().st_size > LINES_BYTES_MAX
            with open(self._path, "w" if full else "a", encoding="utf-8", opener=_private) as lines:
                lines.write(json.dumps(told, ensure_ascii=False) + "\n")


def _private(path: str, flags: int) -> int:
    """Opens a file that its owner alone reads: mails and pushes tell of people."""
    return os.open(path, flags, 0o600)
