"""Mail by SendGrid against a stand-in, push by FCM with the SDK's own answers, and the local adapters."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx
import pytest
from firebase_admin import exceptions, messaging

from domain.errors import Unavailable
from integrations.local.mail import LocalMail, LocalPush
from integrations.messaging import FcmPush, SendGridMail
from integrations.services import Mail, MessageRejected, Push

KEY = "SG.a-secret-key"
MAIL = Mail("ntf_1", "max@jiga.test", "Tus DOF ya están aquí", "Se han añadido 5 DOF.\n")
PUSH = Push("ntf_1", "Your DOF are here", "5 DOF were added.")


class SendGrid:
    """What SendGrid's v3 API answers to POST /v3/mail/send."""

    def __init__(self, *statuses: int | Exception) -> None:
        self.statuses = list(statuses)
        self.heard: list[httpx.Request] = []

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.heard.append(request)
        status = self.statuses.pop(0)
        if isinstance(status, Exception):
            raise status
        errors = {"errors": [{"message": f"{KEY} is wrong", "field": None, "help": None}]}
        return httpx.Response(status, json=None if status == 202 else errors)

    def mail(self) -> SendGridMail:
        made = SendGridMail(KEY, "store@jiga.test", "https://api.sendgrid.test")
        headers = made._http.headers
        made._http = httpx.AsyncClient(transport=httpx.MockTransport(self.handle), headers=headers)
        return made


async def test_a_mail_as_sendgrid_takes_it() -> None:
    sendgrid = SendGrid(202)
    mail = sendgrid.mail()
    await mail.send(MAIL)
    (request,) = sendgrid.heard
    assert (request.method, str(request.url)) == ("POST", "https://api.sendgrid.test/v3/mail/send")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(request.content) == {
        "personalizations": [{"to": [{"email": "max@jiga.test"}], "custom_args": {"notification_id": "ntf_1"}}],
        "from": {"email": "store@jiga.test", "name": "JIGA Store"},
        "subject": "Tus DOF ya están aquí",
        "content": [{"type": "text/plain", "value": "Se han añadido 5 DOF.\n"}],
        "tracking_settings": {"click_tracking": {"enable": False}, "open_tracking": {"enable": False}},
    }
    await mail.close()
    with pytest.raises(Unavailable):
        await mail.send(MAIL)


@pytest.mark.parametrize("status", [400, 404, 413])
async def test_a_mail_that_is_never_taken(status: int) -> None:
    with pytest.raises(MessageRejected, match=f"^SendGrid answered {status}$"):
        await SendGrid(status).mail().send(MAIL)


@pytest.mark.parametrize("answer", [401, 403, 429, 500, 503, httpx.ConnectError(KEY), httpx.ReadTimeout(KEY)])
async def test_a_mail_that_is_tried_again(answer: int | Exception, caplog: pytest.LogCaptureFixture) -> None:
    """And neither the key nor the address is in what is raised or logged."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Unavailable) as down:
        await SendGrid(answer).mail().send(MAIL)
    said = f"{down.value.message} {down.value!r} {caplog.text}"
    assert KEY not in said
    assert MAIL.to not in said


class Answers:
    """What the SDK's `send_each` gives."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.failures: list[Exception | None] = []
        self.raises: Exception | None = None

    def __call__(self, messages: list[Any], app: Any = None) -> messaging.BatchResponse:
        self.sent += messages
        if self.raises is not None:
            raise self.raises
        told = [
            messaging.SendResponse({"name": "projects/x/messages/1"} if each is None else None, each)
            for each in self.failures
        ]
        return messaging.BatchResponse(told)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    made = Answers()
    monkeypatch.setattr(messaging, "send_each", made)
    return made


async def test_a_push_and_the_tokens_that_are_gone(answers: Answers) -> None:
    answers.failures = [None, messaging.UnregisteredError("x"), exceptions.UnavailableError("x")]
    push = FcmPush("jiga-test")
    assert await push.send(PUSH, ["here", "gone", "later"]) == ["gone"]
    first = answers.sent[0]
    assert [each.token for each in answers.sent] == ["here", "gone", "later"]
    assert (first.notification.title, first.notification.body) == (PUSH.title, PUSH.text)
    assert (first.data, first.android.collapse_key) == ({"notificationId": "ntf_1"}, "ntf_1")
    assert (first.apns.headers, first.webpush.notification.tag) == ({"apns-collapse-id": "ntf_1"}, "ntf_1")
    await push.close()
    await push.close()
    with pytest.raises(Unavailable):
        await push.send(PUSH, ["here"])


async def test_a_push_that_nobody_got_is_tried_again(answers: Answers) -> None:
    push = FcmPush("jiga-test")
    answers.failures = [exceptions.UnavailableError("a-token"), messaging.UnregisteredError("x")]
    with pytest.raises(Unavailable) as down:
        await push.send(PUSH, ["a-token", "gone"])
    assert "a-token" not in down.value.message
    answers.raises = exceptions.InternalError("a-token")
    with pytest.raises(Unavailable) as down:
        await push.send(PUSH, ["a-token"])
    assert "a-token" not in down.value.message
    answers.raises, answers.failures = None, [messaging.SenderIdMismatchError("x")]
    assert await push.send(PUSH, ["of another project"]) == ["of another project"]
    await push.close()


async def test_a_local_mail_is_a_file_that_a_person_reads(tmp_path: Path) -> None:
    mail = LocalMail(tmp_path / "mail", "store@jiga.test")
    await mail.send(MAIL)
    await mail.send(MAIL)
    (file,) = (tmp_path / "mail").iterdir()
    assert file.name == "ntf_1.eml"
    read = message_from_bytes(file.read_bytes(), policy=policy.default)
    assert (read["To"], read["Subject"], read.get_content()) == (MAIL.to, MAIL.subject, MAIL.text)
    assert "añadido" in file.read_bytes().decode()


async def test_a_subject_is_one_line_whatever_is_in_it(tmp_path: Path) -> None:
    broken = replace(MAIL, subject="Bot\rBcc: eve@jiga.test\u2028is\x85yours\n")
    await LocalMail(tmp_path, "store@jiga.test").send(broken)
    read = message_from_bytes((tmp_path / "ntf_1.eml").read_bytes(), policy=policy.default)
    assert (read["Subject"], read["Bcc"]) == ("Bot Bcc: eve@jiga.test is yours", None)
    sendgrid = SendGrid(202)
    await sendgrid.mail().send(broken)
    assert json.loads(sendgrid.heard[0].content)["subject"] == "Bot Bcc: eve@jiga.test is yours"


@pytest.mark.parametrize(
    "change", [{"to": "max@jiga.test\nBcc: eve@jiga.test"}, {"subject": "\ud800"}, {"text": "\ud800"}]
)
async def test_a_mail_that_can_never_be_written_is_rejected_for_good(tmp_path: Path, change: dict[str, str]) -> None:
    with pytest.raises(MessageRejected, match="cannot be written"):
        await LocalMail(tmp_path, "store@jiga.test").send(replace(MAIL, **change))
    assert not list(tmp_path.iterdir())
    if "to" not in change:  # an address is SendGrid's to judge
        with pytest.raises(MessageRejected, match="cannot be written"):
            await SendGrid(202).mail().send(replace(MAIL, **change))


async def test_local_mails_and_pushes_are_their_owners_alone(tmp_path: Path) -> None:
    await LocalMail(tmp_path / "data" / "mail", "store@jiga.test").send(MAIL)
    await LocalPush(tmp_path / "data" / "push.jsonl").send(PUSH, ["a"])
    modes = {each.name: each.stat().st_mode & 0o777 for each in (tmp_path / "data").rglob("*")}
    assert modes == {"mail": 0o700, "ntf_1.eml": 0o600, "push.jsonl": 0o600}


async def test_local_mails_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrations.local.mail.FILES_MAX", 2)
    mail = LocalMail(tmp_path, "store@jiga.test")
    for number in range(4):
        await mail.send(Mail(f"ntf_{number}", MAIL.to, MAIL.subject, MAIL.text))
    assert len(list(tmp_path.iterdir())) == 2


async def test_a_local_push_is_a_line(tmp_path: Path) -> None:
    push = LocalPush(tmp_path / "push.jsonl")
    assert await push.send(PUSH, ["a"]) == []
    assert await push.send(PUSH, ["a", "b"]) == []
    lines = [json.loads(line) for line in (tmp_path / "push.jsonl").read_text().splitlines()]
    assert lines[1] == {"id": "ntf_1", "title": PUSH.title, "text": PUSH.text, "tokens": ["a", "b"]}
    assert len(lines) == 2
