"""Takes one invoice to Stripe, in steps that can be done again at any point. I/O.

Before each call that changes Stripe its intent is committed, on the very connection that holds
the customer's lock: who has lost the lock cannot go on. After a crash the invoice is taken up
where Stripe shows that it stands: what is ours there is adopted by its metadata, nothing is
created twice, and nothing is finalized that was not read back and found equal (I8, I9).
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from services.invoicer.building import DraftLine
from services.invoicer.intents import intend, note_refusal
from services.invoicer.patience import Patience
from services.invoicer.payload import chunks
from services.invoicer.runs import get_invoice
from services.invoicer.stripe_gateway import StripeGateway
from services.invoicer.stripe_objects import StripeFault, StripeInvoice, StripeLine
from services.invoicer.verifying import FrozenInvoice, complaints
from shared import audit
from shared.periods import Period
from shared.tables.invoicer import Invoice, InvoiceLine, StripeCustomer
from shared.tables.rater import Customer

T = TypeVar("T")
Clock = Callable[[], datetime]

_CLOCK_SKEW = timedelta(days=2)
"""An invoice is made after its month, by Stripe's clock too, give or take this."""

_FINAL = ("open", "paid")


class NeedsReviewError(Exception):
    """Something at Stripe is not as it must be: a person has to look."""


class Delivery:
    """One invoice on its way; whoever makes one holds its customer's lock on `session`."""

    def __init__(
        self,
        session: AsyncSession,
        gateway: StripeGateway,
        invoice: Invoice,
        *,
        days_until_due: int,
        patience: Patience,
        clock: Clock,
    ) -> None:
        self._session = session
        self._gateway = gateway
        self._invoice = invoice
        self._days_until_due = days_until_due
        self._patience = patience
        self._clock = clock

    async def make(self) -> None:
        """Take the invoice as far as it goes, and note how far that was."""
        self._invoice.attempts += 1
        try:
            await self._make()
        except NeedsReviewError as error:
            await self._note("needs_review", error=str(error))
        except StripeFault as fault:
            hopeless = fault.retry == "never" and not fault.missing
            await self._note("needs_review" if hopeless else "failed_retryable", error=str(fault))

    async def _make(self) -> None:
        _, rows = await get_invoice(self._session, self._invoice.id)
        lines = [draft_line(row) for row in rows]
        customer, is_new = await self._ensure_customer()
        invoice = self._invoice
        frozen = FrozenInvoice(
            invoice.billing_key,
            customer,
            invoice.currency,
            invoice.total_minor,
            invoice.payload_sha256,
            lines,
        )
        draft = await self._ensure_invoice(customer, customer_is_new=is_new)
        if draft.status == "draft":
            await self._ensure_lines(draft, lines)
        theirs = await self._verified(frozen, draft.id)
        if theirs.status == "draft":
            await self._finalize(frozen, theirs)
        elif theirs.status not in _FINAL:
            raise NeedsReviewError(f"{theirs.id} is {theirs.status} at Stripe, not open")
        await self._note("finalized")

    # the customer ------------------------------------------------------------------------

    async def _ensure_customer(self) -> tuple[str, bool]:
        """Give the customer's id at Stripe, and whether it was made just now.

        It is made once; one that an unanswered call made is found again by its metadata.
        """
        known = await self._session.get(StripeCustomer, self._invoice.customer_id)
        customer = await self._session.get_one(Customer, self._invoice.customer_id)
        await self._session.commit()
        if known is not None:
            return known.stripe_customer_id, False
        found = await self._patience.call(lambda: self._find_customer(customer))
        is_new = found is None
        if found is None:
            twin = await self._change(
                f"customer {customer.id}",
                "create",
                [customer.name, customer.email],
                lambda key: self._gateway.create_customer(
                    customer_id=customer.id, name=customer.name, email=customer.email, key=key
                ),
            )
            found = twin.id
        self._session.add(
            StripeCustomer(
                customer_id=customer.id, stripe_customer_id=found, created_at=self._clock()
            )
        )
        await self._session.commit()
        return found, is_new

    async def _find_customer(self, customer: Customer) -> str | None:
        """Find the oldest customer at Stripe that says it is ours."""
        found = None
        async for twin in self._gateway.customers_by_email(customer.email):
            if twin.customer_id == customer.id:
                found = twin.id
        return found

    # the invoice -------------------------------------------------------------------------

    async def _ensure_invoice(self, customer: str, *, customer_is_new: bool) -> StripeInvoice:
        """Give our invoice at Stripe: the known one, the one found there, or a new draft."""
        known = self._invoice.stripe_invoice_id
        found = None if known is None else await self._read_if_there(known)
        if found is None and not customer_is_new:
            found = await self._adopt(customer)
        if found is None:
            self._invoice.state = "creating"
            self._invoice.changed_at = self._clock()
            params = [
                customer,
                self._invoice.payload_sha256,
                str(self._days_until_due),
                f"in place of {known or 'none'}",
            ]
            found = await self._change(
                self._invoice.id, "create", params, lambda key: self._create(customer, key)
            )
        self._invoice.stripe_invoice_id = found.id
        await self._note("lines_adding")
        return found

    async def _create(self, customer: str, key: str) -> StripeInvoice:
        invoice = self._invoice
        return await self._gateway.create_invoice(
            stripe_customer=customer,
            currency=invoice.currency,
            days_until_due=self._days_until_due,
            metadata={
                "billing_key": invoice.billing_key,
                "run_id": invoice.run_id,
                "period": invoice.period,
                "payload_sha256": invoice.payload_sha256,
                "tallybook_customer": invoice.customer_id,
                "tallybook_invoice": invoice.id,
            },
            key=key,
        )

    async def _read_if_there(self, stripe_invoice: str) -> StripeInvoice | None:
        try:
            return await self._patience.call(lambda: self._gateway.invoice(stripe_invoice))
        except StripeFault as fault:
            if fault.missing:
                return None
            raise

    async def _adopt(self, customer: str) -> StripeInvoice | None:
        """Find what an earlier, unanswered call made; surplus drafts of ours are deleted.

        What is finalized is kept before any draft, else the oldest draft is.
        """
        ours = await self._patience.call(lambda: self._ours_at_stripe(customer))
        drafts = [one for one in ours if one.status == "draft"]
        final = [one for one in ours if one.status != "draft"]
        if len(final) > 1:
            ids = ", ".join(one.id for one in final)
            raise NeedsReviewError(f"Stripe holds more than one finalized invoice of it: {ids}")
        kept = (final or drafts)[0] if ours else None
        for surplus in drafts:
            if surplus is not kept:
                await self._delete(surplus)
        return kept

    async def _ours_at_stripe(self, customer: str) -> list[StripeInvoice]:
        """Give the invoices at Stripe with our billing key, the oldest first."""
        since = Period.parse(self._invoice.period).end - _CLOCK_SKEW
        listed = self._gateway.invoices_since(int(since.timestamp()), stripe_customer=customer)
        found = [one async for one in listed if one.billing_key == self._invoice.billing_key]
        return sorted(found, key=lambda one: (one.created, one.id))

    async def _delete(self, surplus: StripeInvoice) -> None:
        await self._intend("delete", [surplus.id])
        try:
            await self._patience.call(lambda: self._gateway.delete_draft(surplus.id))
        except StripeFault as fault:
            if not fault.missing:
                raise

    # lines, and the read-back --------------------------------------------------------------

    async def _ensure_lines(self, draft: StripeInvoice, lines: Sequence[DraftLine]) -> None:
        """Add the lines that the draft does not have yet, at most 100 a call."""
        there = {line.position for line in await self._lines_of(draft)}
        missing = [line for line in lines if str(line.position) not in there]
        for part in chunks(missing):
            await self._add_lines(draft.id, part)

    async def _add_lines(self, stripe_invoice: str, part: Sequence[DraftLine]) -> None:
        positions = [str(line.position) for line in part]
        await self._change(
            self._invoice.id,
            f"lines {positions[0]} to {positions[-1]}",
            [stripe_invoice, self._invoice.payload_sha256, *positions],
            lambda key: self._gateway.add_lines(stripe_invoice, part, key=key),
        )

    async def _lines_of(self, invoice: StripeInvoice) -> Sequence[StripeLine]:
        """Give all lines; the first ones come with the invoice itself."""
        if not invoice.lines.has_more:
            return invoice.lines.data
        return await self._patience.call(lambda: self._gateway.lines(invoice.id))

    async def _verified(self, frozen: FrozenInvoice, stripe_invoice: str) -> StripeInvoice:
        """Read the invoice back and compare it with ours; raise where it is not equal (I9)."""
        theirs = await self._patience.call(lambda: self._gateway.invoice(stripe_invoice))
        wrong = complaints(frozen, theirs, await self._lines_of(theirs))
        if wrong:
            raise NeedsReviewError(f"{theirs.id} is not equal to ours: {'; '.join(wrong[:5])}")
        return theirs

    async def _finalize(self, frozen: FrozenInvoice, draft: StripeInvoice) -> None:
        self._invoice.state = "verified"
        self._invoice.changed_at = self._clock()
        final = await self._change(
            self._invoice.id,
            "finalize",
            [draft.id, frozen.payload_sha256],
            lambda key: self._gateway.finalize(draft.id, key=key),
        )
        if final.status not in _FINAL or final.total != frozen.total_minor:
            raise NeedsReviewError(
                f"{final.id} came out of finalizing as {final.status} over {final.total}"
            )

    # what every step does ------------------------------------------------------------------

    async def _intend(self, step: str, params: Sequence[str]) -> str:
        return await intend(
            self._session, subject=self._invoice.id, step=step, params=params, now=self._clock()
        )

    async def _change(
        self,
        subject: str,
        step: str,
        params: Sequence[str],
        call: Callable[[str], Awaitable[T]],
    ) -> T:
        """Commit the intent, then make the call under its key."""
        key = await intend(
            self._session, subject=subject, step=step, params=params, now=self._clock()
        )
        try:
            return await self._patience.call(lambda: call(key))
        except StripeFault as fault:
            if fault.answered:
                await note_refusal(self._session, key, self._clock())
            raise

    async def _note(self, state: str, *, error: str | None = None) -> None:
        """Commit where the invoice stands."""
        invoice = self._invoice
        invoice.state = state
        invoice.last_error = error
        invoice.changed_at = self._clock()
        if state in ("finalized", "needs_review"):
            await audit.record(
                self._session,
                actor="invoicer",
                act=f"invoice.{state}",
                subject=invoice.id,
                after={
                    "total_minor": invoice.total_minor,
                    "stripe_invoice_id": invoice.stripe_invoice_id,
                    "error": error,
                },
            )
        await self._session.commit()


def draft_line(row: InvoiceLine) -> DraftLine:
    """Give a stored line as the value that it was frozen from."""
    return DraftLine(
        row.position,
        row.contract_id,
        row.charge,
        row.band,
        row.kind,
        row.usage_period,
        row.quantity,
        row.unit_price,
        row.exact_amount,
        row.amount_minor,
        row.description,
    )
