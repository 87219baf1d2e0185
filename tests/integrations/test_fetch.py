"""T-P07: a post to an address that a user names reaches public hosts, and nothing that only we can reach."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from integrations import fetch
from integrations.fetch import BODY_BYTES_MAX, Fetcher, FetchRefused, is_public

HOST = "hooks.example.com"

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handle: Handle, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server of this machine; gives its port."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def answering(status: str, *headers: str, body: bytes = b"", heard: list[bytes] | None = None) -> Handle:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        length = int(request.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        content = await reader.readexactly(length)
        if heard is not None:
            heard.append(request + content)
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()
        writer.close()

    return handle


def resolving(*addresses: str) -> fetch.Resolve:
    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return resolve


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "2001:db8::1",
        "3fff::1",
        "fec0::1",
        "5f00::1",
        "192.0.0.8",
        "192.88.99.1",
    ],
)
async def test_t_p07_an_address_that_is_not_public_is_not_connected_to(address: str) -> None:
    assert not is_public(ip_address(address))
    fetcher = Fetcher(resolve=resolving(address))
    with pytest.raises(FetchRefused, match="not public"):
        await fetcher.post(f"https://{HOST}/", b"{}", {})
    # One such address among a host's is enough: whichever would be connected to.
    with pytest.raises(FetchRefused, match="not public"):
        await Fetcher(resolve=resolving("93.184.215.14", address)).post(f"https://{HOST}/", b"{}", {})


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:4700:4700::1111", "172.32.0.1"])
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("found", [[], ["nonsense"]])
async def test_a_host_without_an_address(found: list[str]) -> None:
    with pytest.raises(FetchRefused, match="no address"):
        await Fetcher(resolve=resolving(*found)).post(f"https://{HOST}/", b"{}", {})


async def test_t_p07_names_that_are_never_resolved_take_nobody_elses_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that never answers holds threads of ours alone: files, pictures and providers go on."""
    asked, released = threading.Semaphore(0), threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        asked.release()
        released.wait(20)
        return []

    monkeypatch.setattr(fetch.socket, "getaddrinfo", hang)
    monkeypatch.setattr(fetch, "DEADLINE_SECONDS", 0.2)
    fetcher = Fetcher()
    try:
        posts = [asyncio.ensure_future(fetcher.post(f"https://{n}.{HOST}/", b"{}", {})) for n in range(40)]
        assert await asyncio.to_thread(asked.acquire, True, 15)
        async with asyncio.timeout(15):
            assert await asyncio.gather(*(asyncio.to_thread(int, "7") for _ in range(40))) == [7] * 40
        for post in posts:
            with pytest.raises(FetchRefused, match="no answer"):
                await post
    finally:
        released.set()
        await fetcher.close()


async def test_t_p07_a_bad_url_is_not_even_resolved() -> None:
    async def never(host: str, port: int) -> list[str]:
        raise AssertionError("it was resolved")

    for url in ("http://hooks.example.com/", "https://u:p@hooks.example.com/", "https://2130706433/", "gopher://x.y/"):
        with pytest.raises(FetchRefused, match="the address is none"):
            await Fetcher(resolve=never).post(url, b"{}", {})


async def test_t_p07_loopback_only_leads_to_loopback() -> None:
    with pytest.raises(FetchRefused, match="not public"):
        await Fetcher(loopback=True, resolve=resolving("10.0.0.1")).post("http://localhost/", b"{}", {})
    with pytest.raises(FetchRefused, match="not public"):
        await Fetcher(loopback=True, resolve=resolving("127.0.0.1")).post(f"https://{HOST}/", b"{}", {})


async def test_t_p07_the_connection_goes_to_the_address_that_was_judged(tmp_path: Path) -> None:
    """No DNS rebinding: the name is resolved once, and stays in Host, in SNI and in the certificate."""
    server, trust = _certificate(tmp_path, "localhost")
    named: list[str | None] = []
    server.sni_callback = lambda _, name, __: named.append(name)
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    heard: list[bytes] = []
    async with serving(answering("204 No Content", heard=heard), server) as port:
        url = f"https://localhost:{port}/hook?x=1"
        fetched = await Fetcher(loopback=True, resolve=rebinding, trust=trust).post(
            url, b'{"a":1}', {"webhook-id": "dlv_1"}
        )
    assert (fetched.status, asked, named) == (204, ["localhost"], ["localhost"])
    request = heard[0].decode().lower()
    assert request.startswith("post /hook?x=1 http/1.1\r\n")
    assert f"host: localhost:{port}\r\n" in request
    assert "webhook-id: dlv_1\r\n" in request
    assert request.endswith('\r\n\r\n{"a":1}')


async def test_a_certificate_of_another_host_is_refused(tmp_path: Path) -> None:
    server, trust = _certificate(tmp_path, "other.example.com")
    async with serving(answering("204 No Content"), server) as port:
        with pytest.raises(FetchRefused, match="the connection failed"):
            await Fetcher(loopback=True, trust=trust).post(f"https://localhost:{port}/", b"{}", {})


async def test_t_p07_a_redirect_is_an_answer_and_not_followed() -> None:
    reached: list[bytes] = []
    async with serving(answering("200 OK", heard=reached)) as inner:
        moved = answering("302 Found", f"Location: http://127.0.0.1:{inner}/secret")
        async with serving(moved) as port:
            fetched = await Fetcher(loopback=True).post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert (fetched.status, reached) == (302, [])


async def test_t_p07_a_body_is_read_to_its_bound() -> None:
    async with serving(answering("200 OK", body=b"x" * 5_000_000)) as port:
        fetched = await Fetcher(loopback=True).post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert fetched.body == b"x" * BODY_BYTES_MAX


async def test_t_p07_a_slow_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "DEADLINE_SECONDS", 0.2)
    free = asyncio.Event()

    async def trickling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await free.wait()
        writer.close()

    async with serving(trickling) as port:
        with pytest.raises(FetchRefused, match="no answer within"):
            await Fetcher(loopback=True).post(f"http://127.0.0.1:{port}/", b"{}", {})
        free.set()


async def test_nobody_listens() -> None:
    async with serving(answering("200 OK")) as port:
        pass
    with pytest.raises(FetchRefused, match="the connection failed"):
        await Fetcher(loopback=True).post(f"http://127.0.0.1:{port}/", b"{}", {})


def _certificate(directory: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate for the host, and a client's that trusts it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = directory / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=made.public_bytes(serialization.Encoding.PEM).decode())
