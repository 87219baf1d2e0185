"""Mail by SendGrid and push by Firebase Cloud Messaging."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from domain.errors import Unavailable
from integrations.services import Mail, MessageRejected, Push

DEADLINE_SECONDS = 5.0  # a mail is handed over by a task, which nobody waits for
TOKENS_MAX = 500  # FCM's bound for one call; a user has ten devices at most
THREADS = 4  # calls of the SDK at once: a burst of pushes queues behind them, within the deadline
_RETRIED = frozenset({401, 403, 408, 409, 425, 429})  # a key or a quota that we must mend: the mail itself is good


class SendGridMail:
    """The mail gateway over SendGrid's v3 API (services.MailGateway).

    SendGrid takes no idempotency key: a mail whose acceptance we did not hear of is sent again with the next try.
    """

    def __init__(self, api_key: str, sender: str, url: str = "https://api.sendgrid.com") -> None:
        self._sender = sender
        self._url = f"{url}/v3/mail/send"
        # The key travels in a header: addresses are logged, headers are not.
        self._http = httpx.AsyncClient(headers={"Authorization": f"Bearer {api_key}"}, timeout=DEADLINE_SECONDS)

    async def send(self, mail: Mail) -> None:
        """Hand the mail over. Raises Unavailable (try again), MessageRejected (it will never be taken)."""
        message = {
            "personalizations": [{"to": [{"email": mail.to}], "custom_args": {"notification_id": mail.id}}],
            "from": {"email": self._sender, "name": "JIGA Store"},
            "subject": mail.subject_line,
            "content": [{"type": "text/plain", "value": mail.text}],
            # The links would be SendGrid's, and tell it who reads what.
            "tracking_settings": {"click_tracking": {"enable": False}, "open_tracking": {"enable": False}},
        }
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):  # httpx bounds each step, not their sum
                answer = await self._http.post(self._url, json=message)
        except (TimeoutError, httpx.HTTPError, RuntimeError) as fault:  # RuntimeError: the client is closed
            raise _unavailable("SendGrid", type(fault).__name__) from None
        except ValueError as fault:  # a text that is none, such as half a character: it is no better tomorrow
            raise MessageRejected(f"the mail cannot be written: {type(fault).__name__}") from None
        status = answer.status_code
        if status in {202, 200}:  # 200 in the provider's sandbox mode
            return
        if 400 <= status < 500 and status not in _RETRIED:
            raise MessageRejected(f"SendGrid answered {status}")
        raise _unavailable("SendGrid", str(status))

    async def close(self) -> None:
        await self._http.aclose()


class FcmPush:
    """The push gateway over Firebase Cloud Messaging (services.PushGateway), by the Admin SDK, in threads.

    A push that is sent twice replaces itself on the device: each carries its notification's id as its collapse key.
    """

    def __init__(self, project_id: str) -> None:
        import firebase_admin

        # A name of its own keeps this app apart from the identity gateway's.
        self._app = firebase_admin.initialize_app(  # type: ignore[no-untyped-call]
            None, {"projectId": project_id, "httpTimeout": DEADLINE_SECONDS}, f"jiga-push-{secrets.token_hex(8)}"
        )
        self._threads = ThreadPoolExecutor(THREADS, "push")
        self._closed = False

    async def send(self, push: Push, tokens: Sequence[str]) -> list[str]:
        """Push to each token; the tokens that are no longer registered. Raises Unavailable where none was taken and one
        may be later: those that were taken are not pushed to again."""
        assert 1 <= len(tokens) <= TOKENS_MAX, "a push goes to somebody, and to no more than FCM takes"
        return await self._run(lambda: self._send(push, list(tokens)))

    async def close(self) -> None:
        import firebase_admin

        if not self._closed:
            self._closed = True
            self._threads.shutdown(wait=False, cancel_futures=True)
            firebase_admin.delete_app(self._app)  # type: ignore[no-untyped-call]

    async def _run(self, work: Callable[[], list[str]]) -> list[str]:
        if self._closed:
            raise _unavailable("FCM", "closed")
        try:
            async with asyncio.timeout(2 * DEADLINE_SECONDS):  # a turn for a thread, then the SDK's own deadline
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TimeoutError:
            raise _unavailable("FCM", "no answer in time") from None

    def _send(self, push: Push, tokens: list[str]) -> list[str]:
        """Runs in a thread. The SDK's own texts quote tokens, and must not reach a log."""
        import google.auth.exceptions
        from firebase_admin import exceptions, messaging

        messages = [_message(messaging, push, token) for token in tokens]
        try:
            answers = messaging.send_each(messages, app=self._app).responses
        except (exceptions.FirebaseError, google.auth.exceptions.GoogleAuthError, OSError) as fault:
            raise _unavailable("FCM", type(fault).__name__) from None
        # Without a token that FCM knows, the message itself is well formed: an invalid argument is the token's fault.
        gone = (messaging.UnregisteredError, messaging.SenderIdMismatchError, exceptions.InvalidArgumentError)
        failures = [each.exception for each in answers if not each.success]
        if failures and len(failures) == len(answers) and not all(isinstance(each, gone) for each in failures):
            raise _unavailable("FCM", type(failures[0]).__name__)
        return [
            token
            for token, each in zip(tokens, answers, strict=True)
            if not each.success and isinstance(each.exception, gone)
        ]


def _message(messaging: Any, push: Push, token: str) -> Any:
    return messaging.Message(
        token=token,
        notification=messaging.Notification(title=push.title, body=push.text),
        data={"notificationId": push.id},
        android=messaging.AndroidConfig(collapse_key=push.id),
        apns=messaging.APNSConfig(headers={"apns-collapse-id": push.id}),
        webpush=messaging.WebpushConfig(notification=messaging.WebpushNotification(tag=push.id)),
    )


def _unavailable(provider: str, why: str) -> Unavailable:
    return Unavailable(f"{provider} does not take messages just now ({why}): try again in a minute.")
