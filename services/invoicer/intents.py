"""Write-ahead of calls to Stripe: what is about to be changed, and under which idempotency key.

I/O: Postgres. The intent is committed before the call is made, so that after a crash the
books know every call that Stripe may have seen.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select, update

from shared.tables.invoicer import StripeIntent


def params_digest(subject: str, step: str, params: Sequence[str]) -> str:
    """Hash what a call is about and what it sends."""
    return hashlib.sha256(msgspec.json.encode([subject, step, *params])).hexdigest()


def idempotency_key(digest: str, refused: int) -> str:
    """Give a call's key: the same for the same call, until Stripe has refused it.

    Stripe repeats an error for the key that first met it, so each refusal makes the next key
    another one.
    """
    return f"tallybook-{hashlib.sha256(f'{digest} {refused}'.encode()).hexdigest()[:48]}"


async def intend(
    session: AsyncSession, *, subject: str, step: str, params: Sequence[str], now: datetime
) -> str:
    """Commit that a call is about to be made, with all else that the session has changed.

    Gives the call's idempotency key.
    """
    digest = params_digest(subject, step, params)
    query = (
        select(func.count())
        .where(StripeIntent.subject == subject, StripeIntent.step == step)
        .where(StripeIntent.params_sha256 == digest, col(StripeIntent.refused_at).is_not(None))
    )
    key = idempotency_key(digest, await session.scalar(query) or 0)
    row = {
        "idempotency_key": key,
        "subject": subject,
        "step": step,
        "params_sha256": digest,
        "first_sent_at": now,
    }
    await session.execute(insert(StripeIntent).values(row).on_conflict_do_nothing())
    await session.commit()
    return key


async def note_refusal(session: AsyncSession, key: str, now: datetime) -> None:
    """Commit that Stripe has answered a call with an error, which it repeats for its key."""
    await session.execute(
        update(StripeIntent)
        .where(col(StripeIntent.idempotency_key) == key, col(StripeIntent.refused_at).is_(None))
        .values(refused_at=now)
    )
    await session.commit()
