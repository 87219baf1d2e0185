"""What leaves the house, built: mail, pushes, and webhooks to integrators."""

from __future__ import annotations

from functions.tasks.notifications import Outlets
from integrations.fetch import Fetcher
from integrations.local.mail import LocalMail, LocalPush
from integrations.messaging import FcmPush, SendGridMail
from integrations.services import MailGateway, PushGateway
from settings import Settings

LOCAL_SENDER = "store@jiga.test"


def make_outlets(settings: Settings) -> Outlets:
    """By the providers; a local store without an account with them writes files that a developer reads."""
    sender, key = settings.mail_from or LOCAL_SENDER, settings.sendgrid_api_key
    mail: MailGateway = LocalMail(settings.data_dir / "mail", sender)
    push: PushGateway = LocalPush(settings.data_dir / "push.jsonl")
    if key is not None:
        mail = SendGridMail(key.get_secret_value(), sender)
    if settings.is_production:
        push = FcmPush(settings.project)
    return Outlets(mail, push, Fetcher(loopback=settings.webhook_loopback))
