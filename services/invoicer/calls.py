"""Calls that change Stripe: each written down before it is made, and tried with patience. I/O.

The intent is committed before the call, so that after a crash the books know every call that
Stripe may have seen, and under which idempotency key.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, update

from services.invoicer.breaker import Breaker, RunStoppedError
from services.invoicer.patience import Patience
from services.invoicer.stripe_objects import StripeFault
from shared.clock import Clock
from shared.tables.invoicer import StripeIntent
from shared.tracing import OFF, Tracing

T = TypeVar("T")


def params_digest(subject: str, step: str, params: Sequence[str]) -> str:
    """Hash what a call is about and what it sends."""
    return hashlib.sha256(msgspec.json.encode([subject, step, *params])).hexdigest()


def idempotency_key(digest: str, refused: int) -> str:
    """Give a call's key: the same for the same call, until Stripe has refused it.

    Stripe repeats an error for the key that first met it, so each refusal makes the next key
    another one.
    """
    return f"tallybook-{hashlib.sha256(f'{digest} {refused}'.encode()).hexdigest()[:48]}"


async def unguarded(_session: AsyncSession) -> None:
    """Let every commit through: nobody else can be at work on the same thing."""


@dataclass(frozen=True, slots=True)
class Calls:
    """How calls are made, and what is noted of them.

    `guard` is asked within each transaction before it commits; it raises where another worker
    has taken over. So an intent can be committed, and a call made, only by who holds the lease.
    """

    session: AsyncSession
    patience: Patience
    clock: Clock
    guard: Callable[[AsyncSession], Awaitable[None]] = unguarded
    breaker: Breaker = field(default_factory=Breaker)
    tracing: Tracing = OFF

    async def commit(self) -> None:
        """Commit what the session has changed, if it is still ours to change."""
        await self.guard(self.session)
        await self.session.commit()

    async def ask(self, call: Callable[[], Awaitable[T]], step: str = "read") -> T:
        """Make a call that changes nothing."""
        with self.tracing.span("call Stripe", {"tallybook.step": step}, kind="client"):
            return await self.patience.call(lambda: self.breaker.call(call))

    async def change(
        self,
        subject: str,
        step: str,
        params: Sequence[str],
        call: Callable[[str], Awaitable[T]],
    ) -> T:
        """Commit the intent, then make the call under its key; raise the last `StripeFault`.

        Raises `RunStoppedError` where no more calls are to be made.
        """
        key = await self.intend(subject, step, params)
        is_refused = False

        async def attempt() -> T:
            nonlocal is_refused
            try:
                return await call(key)
            except StripeFault as fault:
                is_refused = fault.answered
                raise

        try:
            return await self.ask(attempt, step)
        except (StripeFault, RunStoppedError):
            if is_refused:
                await self._note_refusal(key)
            raise

    async def intend(self, subject: str, step: str, params: Sequence[str]) -> str:
        """Commit that a call is about to be made, with all else that the session has changed.

        Gives the call's idempotency key, which follows from what is sent.
        """
        digest = params_digest(subject, step, params)
        refused = 0
        while await self._is_refused(
            {
                "idempotency_key": (key := idempotency_key(digest, refused)),
                "subject": subject,
                "step": step,
                "params_sha256": digest,
                "first_sent_at": self.clock(),
            }
        ):
            refused += 1
        await self.commit()
        return key

    async def _is_refused(self, intent: Mapping[str, object]) -> bool:
        """Write an intent down unless it is there; tell whether Stripe has refused its key."""
        query = (
            insert(StripeIntent)
            .values(intent)
            .on_conflict_do_update(
                index_elements=["idempotency_key"], set_={"step": intent["step"]}
            )
            .returning(col(StripeIntent.refused_at))
        )
        return await self.session.scalar(query) is not None

    async def _note_refusal(self, key: str) -> None:
        """Commit that Stripe has answered with an error, which it repeats for the key."""
        await self.session.execute(
            update(StripeIntent)
            .where(col(StripeIntent.idempotency_key) == key)
            .values(refused_at=self.clock())
        )
        await self.commit()
