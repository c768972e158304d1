"""Sends an example to an endpoint, past the outbox, to see whether a message arrives. I/O."""

import secrets
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from services.invoicer.notifying.answers import Answer
from services.invoicer.notifying.courier import Courier
from services.invoicer.notifying.endpoints import get_endpoint
from services.invoicer.notifying.notices import Notice, NoticeType

_EXAMPLE = {
    "invoice": "inv_example",
    "run": "run_2026-10",
    "customer": "example",
    "period": "2026-10",
    "revision": 1,
    "total": "0.00",
    "currency": "USD",
    "example": True,
}


async def try_endpoint(
    session: AsyncSession, courier: Courier, endpoint_id: str, now: datetime
) -> Answer:
    """Send one example, enabled or not, and give what came of it; raises `NotFoundError`.

    It is signed as any other message, of a type that the endpoint is told of, and says
    `example` in its data.
    """
    endpoint = await get_endpoint(session, endpoint_id)
    await session.commit()  # no transaction stays open while the receiver is waited for
    known = () if endpoint.secret is None else (endpoint.secret,)
    return await courier.take(_example(endpoint.types, now), endpoint.url, known, now)


def _example(types: list[str], now: datetime) -> Notice:
    kind: NoticeType = "invoice.finalized"
    notice = Notice(kind, f"example {secrets.token_hex(8)}", "inv_example", now, _EXAMPLE)
    return replace(notice, type=types[0]) if types else notice  # type: ignore[arg-type]
