"""Sends an example to an endpoint, past the outbox, to see whether a message arrives. I/O."""

import secrets
from datetime import datetime
from typing import cast

from sqlalchemy.ext.asyncio import AsyncSession

from services.invoicer.notifying.endpoints.store import get_endpoint, secrets_in_force
from services.invoicer.notifying.outbox.examples import example
from services.invoicer.notifying.outbox.notices import NoticeType
from services.invoicer.notifying.transport.answers import Answer
from services.invoicer.notifying.transport.courier import Courier


async def try_endpoint(
    session: AsyncSession, courier: Courier, endpoint_id: str, now: datetime
) -> Answer:
    """Send one example, enabled or not, and give what came of it; raises `NotFoundError`.

    It is signed as any other message, of the first type that the endpoint is told of, and says
    `example` in its data.
    """
    endpoint = await get_endpoint(session, endpoint_id)
    await session.commit()  # no transaction stays open while the receiver is waited for
    kind = cast(NoticeType, endpoint.types[0]) if endpoint.types else "invoice.finalized"
    told = example(kind, f"example {secrets.token_hex(8)}", now)
    return await courier.take(told, endpoint.url, secrets_in_force(endpoint, now), now)
