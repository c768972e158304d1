"""A message goes to the address that was looked at and nowhere else, over verified TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from services.invoicer.notifying.transport import posting
from services.invoicer.notifying.transport.addresses import WebAddress
from services.invoicer.notifying.transport.answers import Answer
from services.invoicer.notifying.transport.posting import Names, Resolve, open_client, post_message
from tests.services.invoicer.notifying.transport.receiver import Receiver, running_receiver

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Whom `SSL_CERT_FILE` says to trust."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return made


@pytest.fixture
async def receiver(authority: trustme.CA) -> AsyncIterator[Receiver]:
    """One that speaks TLS as `hooks.example` and as `localhost`."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("hooks.example", "localhost").configure_cert(tls)
    async with running_receiver(tls) as made:
        yield made


@pytest.fixture
async def plain() -> AsyncIterator[Receiver]:
    async with running_receiver() as made:
        yield made


def _port(receiver: Receiver) -> int:
    return int(receiver.url.split(":")[2].partition("/")[0])


def _at(*addresses: str) -> Resolve:
    """Resolve any name to these addresses, the first time that it is asked for."""
    asked: list[str] = []

    async def once(host: str, _port: int) -> Sequence[str]:
        assert asked == [], "a name is resolved once for an attempt"
        asked.append(host)
        return addresses

    return once


async def _post(
    receiver: Receiver,
    host: str = "hooks.example",
    *,
    resolve: Resolve,
    private: bool = True,
    target: str = "/",
) -> Answer:
    scheme = receiver.url.partition(":")[0]
    address = WebAddress(scheme, host, _port(receiver), target)  # type: ignore[arg-type]
    async with open_client() as client:
        return await post_message(
            client,
            address,
            {"webhook-id": "1"},
            b"{}",
            now=NOW,
            private=private,
            resolve=resolve,
        )


async def test_the_connection_goes_to_the_address_that_was_looked_at(receiver: Receiver) -> None:
    answer = await _post(receiver, resolve=_at("127.0.0.1"), target="/a?b=c")
    assert answer == Answer("HTTP 204", taken=True)
    (one,) = receiver.received
    assert one.headers["host"] == f"hooks.example:{_port(receiver)}"
    assert (one.target, one.body) == ("/a?b=c", b"{}")


async def test_a_certificate_for_another_name_is_refused(receiver: Receiver) -> None:
    answer = await _post(receiver, "other.example", resolve=_at("127.0.0.1"))
    assert not answer.taken
    assert "CERTIFICATE_VERIFY_FAILED" in answer.words
    assert receiver.received == []


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["::1"]])
async def test_a_name_that_means_a_private_address_is_refused(
    receiver: Receiver, addresses: list[str]
) -> None:
    answer = await _post(receiver, resolve=_at(*addresses), private=False)
    assert "which is private" in answer.words
    assert receiver.received == []


async def test_the_system_is_asked_what_a_name_means(receiver: Receiver) -> None:
    refused = await _post(receiver, "localhost", resolve=posting.resolve, private=False)
    assert "which is private" in refused.words
    assert receiver.received == []
    assert (await _post(receiver, "localhost", resolve=posting.resolve)).taken


async def test_a_redirect_is_not_followed(plain: Receiver, receiver: Receiver) -> None:
    receiver.answer = lambda _place: (302, {"location": plain.url})
    answer = await _post(receiver, resolve=_at("127.0.0.1"))
    assert (answer.taken, "redirects are not followed" in answer.words) == (False, True)
    assert plain.received == []


async def test_of_several_addresses_the_first_that_can_be_connected_to_is_used(
    plain: Receiver,
) -> None:
    assert (await _post(plain, resolve=_at("127.0.0.2", "127.0.0.1"))).taken
    refused = await _post(plain, resolve=_at("127.0.0.2", "127.0.0.3"))
    assert "the connection failed" in refused.words


async def test_no_proxy_of_the_environment_is_used(
    receiver: Receiver, plain: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, plain.url)
    assert (await _post(receiver, resolve=_at("127.0.0.1"))).taken
    assert plain.received == []


async def test_one_that_does_not_answer_is_given_up(
    plain: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "SECONDS", 0.2)
    plain.answer = lambda _place: "hang"
    answer = await _post(plain, resolve=_at("127.0.0.1"))
    assert answer == Answer("no answer within 0.2 seconds")


async def test_a_broken_connection_and_an_unknown_name_are_told(plain: Receiver) -> None:
    plain.answer = lambda _place: "lost"
    assert "the connection failed" in (await _post(plain, resolve=_at("127.0.0.1"))).words

    async def unknown(_host: str, _port: int) -> Sequence[str]:
        raise OSError("no such name")

    answer = await _post(plain, resolve=unknown)
    assert answer == Answer("the name hooks.example cannot be resolved")


@pytest.mark.parametrize("status", ["SSH-2.0-hidden", "HTTP/1.1 abc hidden"])
async def test_nothing_of_what_is_no_answer_is_kept(plain: Receiver, status: str) -> None:
    plain.answer = lambda _place: status
    answer = await _post(plain, resolve=_at("127.0.0.1"))
    assert answer == Answer("the connection failed: it ended without an answer in HTTP")


async def test_a_name_that_hangs_is_asked_for_once_and_then_anew(
    plain: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "SECONDS", 0.2)
    asked: list[str] = []
    answered = asyncio.Event()

    async def hang(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        if host == "hangs.example":
            await answered.wait()
            raise OSError("no such name")
        return ["127.0.0.1"]

    names = Names(hang)
    attempts = (_post(plain, "hangs.example", resolve=names.resolve) for _ in range(8))
    late = await asyncio.gather(*attempts)
    assert late == [Answer("no answer within 0.2 seconds")] * 8
    assert asked == ["hangs.example"]
    assert (await _post(plain, resolve=names.resolve)).taken
    answered.set()
    for _ in range(2):
        told = await _post(plain, "hangs.example", resolve=names.resolve)
        assert told == Answer("the name hangs.example cannot be resolved")
    assert len(asked) > 2
