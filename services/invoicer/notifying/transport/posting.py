"""Hands one message to a receiver over HTTP. I/O: names are resolved, and HTTP.

A receiver's name is resolved once for an attempt, each of its addresses is looked at, and the
connection goes to the very address that was looked at: a name that means another address a
moment later gains nothing. No proxy of the environment is used, no redirect followed, and
nothing of an answer but its status is read.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

import httpx

from services.invoicer.notifying.transport.addresses import (
    AddressRefusedError,
    WebAddress,
    at_port,
    check_connection,
)
from services.invoicer.notifying.transport.answers import Answer, read_answer

SECONDS = 15.0
"""How long a receiver has for its answer."""

_CONNECT_SECONDS = 5.0

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the addresses of a host's name; raises `OSError` where there are none."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the operating system for a name's addresses."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class Names:
    """Asks what names mean, a name once at a time, for all attempts that wait for it.

    The system has few threads for that: names that hang must not take those of the others.
    """

    def __init__(self, ask: Resolve = resolve) -> None:
        self._ask = ask
        self._asked: dict[str, asyncio.Future[Sequence[str]]] = {}

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Give a name's addresses, as they are now; raises `OSError` where there are none."""
        asked = self._asked.get(host)
        if asked is None:
            asked = self._asked[host] = asyncio.ensure_future(self._ask(host, port))
            asked.add_done_callback(lambda answered: self._forget(host, answered))
        return await asyncio.shield(asked)

    def _forget(self, host: str, answered: asyncio.Future[Sequence[str]]) -> None:
        del self._asked[host]
        if not answered.cancelled():
            answered.exception()  # looked at, should nobody wait for it any more


def open_client() -> httpx.AsyncClient:
    """Open the client for receivers; whom to trust is as `SSL_CERT_FILE` says, if it is set.

    Connections are not kept, as the next one to an address may be for another name.
    """
    return httpx.AsyncClient(
        verify=httpx.create_ssl_context(),
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(SECONDS, connect=_CONNECT_SECONDS, pool=None),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        headers={"user-agent": "Tallybook"},
    )


async def post_message(
    client: httpx.AsyncClient,
    address: WebAddress,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    private: bool,
    resolve: Resolve = resolve,
) -> Answer:
    """Post a message; whatever comes of it is the answer, also that nothing could be reached."""
    try:
        async with asyncio.timeout(SECONDS):
            port = address.port or (443 if address.scheme == "https" else 80)
            found = await resolve(address.host, port)
            for one in found:
                check_connection(one, private=private)
            return await _post(client, address, found, headers, body, now)
    except AddressRefusedError as error:
        return Answer(str(error))
    except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout):
        return Answer(f"no answer within {SECONDS:g} seconds")
    except httpx.RemoteProtocolError:  # its message quotes what came instead of an answer
        return Answer("the connection failed: it ended without an answer in HTTP")
    except httpx.TransportError as error:
        return Answer(f"the connection failed: {str(error) or type(error).__name__}")
    except (OSError, UnicodeError):
        return Answer(f"the name {address.host} cannot be resolved")


async def _post(
    client: httpx.AsyncClient,
    address: WebAddress,
    found: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
) -> Answer:
    """Post to the first of the addresses that can be connected to."""
    failed: httpx.TransportError | None = None
    for one in found:
        request = client.build_request(
            "POST",
            f"{address.scheme}://{at_port(one, address.port)}{address.target}",
            content=body,
            headers={**headers, "host": address.authority, "content-type": "application/json"},
            # The certificate has to be the name's, though an address is connected to.
            extensions={"sni_hostname": address.host},
        )
        try:
            response = await client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            failed = error
            continue
        try:
            return read_answer(response.status_code, response.headers.get("retry-after"), now)
        finally:
            await response.aclose()
    raise failed or httpx.ConnectError("it has no address")
