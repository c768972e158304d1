"""Sends the demo's events to ingest over HTTP, several requests at once."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

import httpx
import msgspec

from infra.demo.traffic import Load
from shared.errors import UnavailableError
from shared.progress import Bar
from shared.settings import Settings

AT_ONCE = 8
"""Requests that are under way at the same time."""

_TRIES = 20
_BATCH_TYPE = "application/cloudevents-batch+json"


class IngestRefusedError(UnavailableError):
    """Ingest did not take a request."""

    code = "ingest_refused"


class _Verdicts(msgspec.Struct):
    accepted: int
    duplicate: int
    rejected: int


_decode_verdicts = msgspec.json.Decoder(_Verdicts).decode


@dataclass(slots=True)
class Sent:
    """What was sent and what ingest said of it; `unexpected` counts requests judged otherwise."""

    events: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    resent: int = 0
    unexpected: int = 0
    seconds: float = 0.0


async def send(settings: Settings, loads: Iterable[Load], bar: Bar) -> Sent:
    """Send all requests; each is sent again while ingest cannot take it, up to a bound."""
    assert settings.producer_key is not None
    headers = {
        "Authorization": f"Bearer {settings.producer_key.get_secret_value()}",
        "Content-Type": _BATCH_TYPE,
    }
    sent = Sent()
    waiting = iter(loads)
    started = time.monotonic()
    async with httpx.AsyncClient(
        base_url=settings.ingest_url, headers=headers, timeout=60
    ) as client:

        async def work() -> None:
            for load in waiting:
                _count(sent, load, await _post(client, load))
                bar.advance(load.events)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
    sent.seconds = time.monotonic() - started
    return sent


async def _post(client: httpx.AsyncClient, load: Load) -> _Verdicts:
    reason = ""
    for attempt in range(_TRIES):
        try:
            answer = await client.post("/v1/events", content=load.body)
        except httpx.TransportError as error:
            reason = type(error).__name__
        else:
            if answer.status_code == 200:
                return _decode_verdicts(answer.content)
            reason = f"{answer.status_code} {answer.text[:300]}"
            if answer.status_code != 503:
                break
        await asyncio.sleep(min(2.0, 0.1 * 2**attempt))
    raise IngestRefusedError(f"ingest does not take the events: {reason}")


def _count(sent: Sent, load: Load, verdicts: _Verdicts) -> None:
    sent.events += load.events
    sent.accepted += verdicts.accepted
    sent.duplicate += verdicts.duplicate
    sent.rejected += verdicts.rejected
    if load.resent:
        sent.resent += verdicts.accepted
    expected = (load.accepted, load.duplicate, load.rejected)
    if (verdicts.accepted, verdicts.duplicate, verdicts.rejected) != expected:
        sent.unexpected += 1
