"""Takes one message to one endpoint, by whichever way the endpoint is reached. I/O."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import httpx

from services.invoicer.notifying.outbox.notices import Notice
from services.invoicer.notifying.transport.addresses import (
    AddressRefusedError,
    Mailbox,
    read_address,
)
from services.invoicer.notifying.transport.answers import Answer
from services.invoicer.notifying.transport.letters import letter
from services.invoicer.notifying.transport.mail import read_server, send_letter
from services.invoicer.notifying.transport.posting import Names, open_client, post_message
from services.invoicer.notifying.transport.signing import body_of, signed_headers
from shared.settings import Settings

_LETTERS_AT_ONCE = 8


class Courier:
    """What messages are taken with; use it as an async context manager.

    Raises `WrongUseError` where the settings name no mail server that can be one.
    """

    def __init__(self, settings: Settings) -> None:
        self._private = settings.webhook_private_addresses
        self._server = read_server(settings)
        self._sender = settings.smtp_from
        self._client: httpx.AsyncClient | None = None
        self._names = Names()
        # Threads of its own: a mail server that hangs must not take those of others.
        self._threads = ThreadPoolExecutor(_LETTERS_AT_ONCE, thread_name_prefix="mail")

    async def __aenter__(self) -> "Courier":
        self._client = open_client()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def take(self, notice: Notice, url: str, secrets: Sequence[str], now: datetime) -> Answer:
        """Take a message there once; what comes of it is the answer."""
        assert self._client is not None, "it is entered first"
        try:
            address = read_address(url, private=self._private)
        except AddressRefusedError as error:
            return Answer(str(error))
        if isinstance(address, Mailbox):
            if self._server is None:
                return Answer("there is no mail server: set TALLYBOOK_SMTP_URL")
            written = letter(notice, sender=self._sender, mailbox=address.address)
            return await send_letter(self._server, written, self._threads)
        body = body_of(notice)
        headers = signed_headers(secrets, notice.id, now, body)
        return await post_message(
            self._client,
            address,
            headers,
            body,
            now=now,
            private=self._private,
            resolve=self._names.resolve,
        )
