"""A stranger's client: HTTP and WebSocket as anybody's program would use them. It imports nothing of the store's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import websockets
from websockets.asyncio.client import ClientConnection, connect

ANSWER_SECONDS = 20.0  # a busy machine; the store itself promises 2
TRIES_MAX = 10  # of a request on a machine that stands still: each is two seconds
PASSWORD = "correct horse 7"

Json = Any


class Refused(AssertionError):
    """The store answered with a refusal or an error where a success was expected."""


class Client:
    """One person at one store; without a token a guest."""

    def __init__(self, url: str, token: str | None = None, *, user_id: str = "", refresh_token: str = "") -> None:
        self.url = url
        self.token = token
        self.user_id = user_id
        self.refresh_token = refresh_token
        limits = httpx.Limits(max_connections=60)
        # The stores under test speak plain http on loopback: reading the roots of trust for each person is for nothing.
        self.http = httpx.AsyncClient(
            base_url=url, timeout=ANSWER_SECONDS, limits=limits, trust_env=False, verify=False
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"} if self.token else {}

    async def answer(self, query: str, **variables: Json) -> Json:
        """The whole answer, errors included."""
        sent = {"query": query, "variables": variables}
        return (await self.http.post("/graphql", json=sent, headers=self.headers)).json()

    async def ask(self, query: str, **variables: Json) -> Json:
        """The data of an answer without errors. UNAVAILABLE says to send the same again, and so any client does."""
        for _ in range(TRIES_MAX):
            answer = await self.answer(query, **variables)
            if {each.get("extensions", {}).get("code") for each in answer.get("errors", ())} != {"UNAVAILABLE"}:
                break
        if "errors" in answer:
            raise Refused(answer["errors"])
        return answer["data"]

    async def call(self, name: str, input: Json, selection: str = "__typename", refusal: str = "") -> Json:
        """One mutation's result: its payload's fields, or a refusal's `code` and `message`.

        `refusal` selects a refusal's own facts, such as `... on InsufficientDof { needed }`.
        """
        return (await self.ask(mutation(name, selection, refusal), input=input))[name]

    async def act(self, name: str, input: Json, selection: str = "__typename") -> Json:
        """One mutation that succeeds."""
        result = await self.call(name, input, selection)
        if "code" in result:
            raise Refused(result)
        return result

    async def refused(self, name: str, input: Json) -> str:
        """The code with which one mutation is refused, or that of its top-level error."""
        answer = await self.answer(mutation(name, "__typename"), input=input)
        if "errors" in answer:
            return str(answer["errors"][0]["extensions"]["code"])
        return str(answer["data"][name].get("code", "DONE"))

    async def sign_up(self, name: str, email: str | None = None) -> Client:
        """A new person."""
        asked = {"email": email or f"{name.lower()}@example.org", "password": PASSWORD, "displayName": name}
        return self._as(await self.act("signUp", asked, "idToken refreshToken viewer { id }"))

    async def sign_in(self, email: str, password: str = PASSWORD) -> Client:
        asked = {"email": email, "password": password}
        return self._as(await self.act("signIn", asked, "idToken refreshToken viewer { id }"))

    def _as(self, signed: Json) -> Client:
        return Client(self.url, signed["idToken"], user_id=signed["viewer"]["id"], refresh_token=signed["refreshToken"])

    async def wallet(self) -> Json:
        return (await self.ask("{ viewer { wallet { available held debt earned } } }"))["viewer"]["wallet"]

    async def transactions(self) -> Json:
        fields = "id type status amount availableAfter distribution { owner platform creator } externalReference"
        data = await self.ask(f"{{ viewer {{ transactions(first: 100) {{ nodes {{ {fields} }} }} }} }}")
        return data["viewer"]["transactions"]["nodes"]

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[Socket]:
        """An open graphql-transport-ws socket, acknowledged."""
        address = self.url.replace("http", "ws", 1) + "/graphql"
        async with connect(address, subprotocols=[websockets.Subprotocol("graphql-transport-ws")]) as raw:
            socket = Socket(raw)
            payload = {"token": self.token} if self.token else {}
            await raw.send(json.dumps({"type": "connection_init", "payload": payload}))
            acknowledged = json.loads(await asyncio.wait_for(raw.recv(), ANSWER_SECONDS))
            assert acknowledged["type"] == "connection_ack", acknowledged
            reader = asyncio.create_task(socket.read())
            try:
                yield socket
            finally:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)


class Socket:
    """Runs operations over one socket, each under an id of its own."""

    def __init__(self, raw: ClientConnection) -> None:
        self._raw = raw
        self._heard: dict[str, asyncio.Queue[Json]] = {}

    async def subscribe(self, query: str, **variables: Json) -> Subscription:
        """Begin an operation."""
        name = str(len(self._heard) + 1)
        self._heard[name] = asyncio.Queue()
        message = {"id": name, "type": "subscribe", "payload": {"query": query, "variables": variables}}
        await self._raw.send(json.dumps(message))
        return Subscription(self._heard[name])

    async def read(self) -> None:
        """Hand each message to its operation, until the socket closes."""
        async for text in self._raw:
            message = json.loads(text)
            if message["type"] == "ping":
                await self._raw.send('{"type":"pong"}')
            elif "id" in message:
                self._heard[message["id"]].put_nowait(message)


class Subscription:
    """What one operation hears."""

    def __init__(self, heard: asyncio.Queue[Json]) -> None:
        self._heard = heard

    async def message(self) -> Json:
        return await asyncio.wait_for(self._heard.get(), ANSWER_SECONDS)

    async def next(self) -> Json:
        """The data of the next answer."""
        message = await self.message()
        assert message["type"] == "next", message
        assert "errors" not in message["payload"], message
        return message["payload"]["data"]

    async def ended(self) -> bool:
        """Whether the next word is that there is nothing more."""
        return bool((await self.message())["type"] == "complete")


def mutation(name: str, selection: str, refusal: str = "") -> str:
    """The document of one mutation with its input as a variable."""
    head, payload = name[0].upper() + name[1:], f"{name[0].upper()}{name[1:]}Payload"
    chosen = f"... on {payload} {{ {selection} }} ... on Refusal {{ code message }} {refusal}"
    return f"mutation Act($input: {head}Input!) {{ {name}(input: $input) {{ __typename {chosen} }} }}"
