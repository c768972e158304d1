"""Takes one invoice to Stripe, in steps that can be done again at any point. I/O.

Before each call that changes Stripe its intent is committed, and only under a lease that still
counts: who has lost it cannot go on. After a crash the invoice is taken up
where Stripe shows that it stands: what is ours there is adopted by its metadata, nothing is
created twice, and nothing is finalized that was not read back and found equal (I8, I9).
"""

from collections.abc import Sequence
from datetime import timedelta

from services.invoicer.breaker import RunStoppedError
from services.invoicer.building import Draft, DraftLine, InvoiceKey
from services.invoicer.calls import Calls
from services.invoicer.customers import ensure_customer, replace_deleted
from services.invoicer.notifying.outbox.invoices import tell
from services.invoicer.payload import chunks, payload_sha256
from services.invoicer.runs import get_invoice
from services.invoicer.stripe_gateway import StripeGateway
from services.invoicer.stripe_objects import StripeFault, StripeInvoice, StripeLine
from services.invoicer.verifying import FrozenInvoice, complaints
from services.invoicer.wording import Wording
from shared import audit
from shared.periods import Period
from shared.tables.invoicer import Invoice, InvoiceLine

_CLOCK_SKEW = timedelta(days=2)
"""An invoice is made after its month, by Stripe's clock too, give or take this."""

_FINAL = ("open", "paid")


class NeedsReviewError(Exception):
    """Something at Stripe is not as it must be: a person has to look."""


class Delivery:
    """One invoice on its way; whoever makes one holds its customer's lease."""

    def __init__(
        self,
        calls: Calls,
        gateway: StripeGateway,
        invoice: Invoice,
        *,
        days_until_due: int,
    ) -> None:
        self._calls = calls
        self._session = calls.session
        self._gateway = gateway
        self._invoice = invoice
        self._days_until_due = days_until_due

    async def make(self) -> None:
        """Take the invoice as far as it goes, and note how far that was.

        Raises `RunStoppedError` where no more calls are to be made; that is no attempt then.
        """
        attempts = self._invoice.attempts
        self._invoice.attempts += 1
        try:
            await self._make()
        except NeedsReviewError as error:
            await self._note("needs_review", error=str(error))
        except StripeFault as fault:
            hopeless = fault.retry == "never" and not fault.missing
            await self._note("needs_review" if hopeless else "failed_retryable", error=str(fault))
        except RunStoppedError:
            await self._session.rollback()
            await self._session.refresh(self._invoice)
            self._invoice.attempts = attempts
            await self._calls.commit()
            raise

    async def _make(self) -> None:
        _, rows = await get_invoice(self._session, self._invoice.id)
        lines = [draft_line(row) for row in rows]
        self._check_frozen(lines)
        calls, gateway, customer_id = self._calls, self._gateway, self._invoice.customer_id
        customer, is_new = await ensure_customer(calls, gateway, customer_id)
        try:
            await self._take(lines, customer, customer_is_new=is_new)
        except StripeFault as fault:
            if fault.retry != "never":
                raise
            again = await replace_deleted(calls, gateway, customer_id)
            if again is None:
                raise
            await self._take(lines, again, customer_is_new=True)
        await self._note("finalized")

    async def _take(
        self, lines: Sequence[DraftLine], customer: str, *, customer_is_new: bool
    ) -> None:
        """Take the invoice to Stripe for a customer there: created, filled, read back, final."""
        draft = await self._ensure_invoice(customer, customer_is_new=customer_is_new)
        invoice = self._invoice
        frozen = FrozenInvoice(
            invoice.billing_key,
            customer,
            invoice.currency,
            invoice.total_minor,
            invoice.payload_sha256,
            lines,
            frozen_wording(invoice),
        )
        if draft.status == "draft":
            await self._ensure_lines(draft, lines)
        theirs = await self._verified(frozen, draft.id)
        invoice.due_at = theirs.due_at
        if theirs.status == "draft":
            await self._finalize(frozen, theirs)
        elif theirs.status not in _FINAL:
            raise NeedsReviewError(f"{theirs.id} is {theirs.status} at Stripe, not open")

    def _check_frozen(self, lines: Sequence[DraftLine]) -> None:
        """Raise where lines or words in the books are not those whose hash was approved."""
        if frozen_sha256(self._invoice, lines) != self._invoice.payload_sha256:
            raise NeedsReviewError("its lines in the books are not those that were frozen")

    # the invoice -------------------------------------------------------------------------

    async def _ensure_invoice(self, customer: str, *, customer_is_new: bool) -> StripeInvoice:
        """Give our invoice at Stripe: the known one, the one found there, or a new draft."""
        known = self._invoice.stripe_invoice_id
        found = None if known is None else await self._read_if_there(known)
        if found is not None and found.customer != customer:
            await self._leave_behind(found, customer)
            found = None
        if found is None and not customer_is_new:
            found = await self._adopt(customer)
        if found is None:
            self._invoice.state = "creating"
            self._invoice.changed_at = self._calls.clock()
            params = [
                customer,
                self._invoice.payload_sha256,
                str(self._days_until_due),
                f"in place of {known or 'none'}",
            ]
            found = await self._calls.change(
                self._invoice.id, "create", params, lambda key: self._create(customer, key)
            )
        # Committed with the next intent: until then it is found again by its metadata.
        self._invoice.stripe_invoice_id = found.id
        self._invoice.state = "lines_adding"
        self._invoice.changed_at = self._calls.clock()
        return found

    async def _leave_behind(self, found: StripeInvoice, customer: str) -> None:
        """Delete our draft of a customer who was deleted at Stripe since, and made anew."""
        if found.status != "draft" or found.billing_key != self._invoice.billing_key:
            raise NeedsReviewError(
                f"{found.id} is {found.status} at Stripe, for {found.customer}, and the customer"
                f" is {customer} there now; if it is still to be paid, void it and issue it again:"
                f" invoices void {self._invoice.id} --reissue --why"
            )
        await self._delete(found)

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
                **({"detail_sha256": invoice.detail_sha256} if invoice.detail_sha256 else {}),
            },
            key=key,
            wording=frozen_wording(invoice),
        )

    async def _read_if_there(self, stripe_invoice: str) -> StripeInvoice | None:
        try:
            return await self._calls.ask(lambda: self._gateway.invoice(stripe_invoice))
        except StripeFault as fault:
            if fault.missing:
                return None
            raise

    async def _adopt(self, customer: str) -> StripeInvoice | None:
        """Find what an earlier, unanswered call made; surplus drafts of ours are deleted.

        What is finalized is kept before any draft, else the oldest draft is.
        """
        ours = await self._calls.ask(lambda: self._ours_at_stripe(customer))
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
        return found[::-1]  # Stripe lists the newest first

    async def _delete(self, surplus: StripeInvoice) -> None:
        await self._calls.intend(self._invoice.id, "delete", [surplus.id])
        try:
            await self._calls.ask(lambda: self._gateway.delete_draft(surplus.id))
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
        await self._calls.change(
            self._invoice.id,
            f"lines {positions[0]} to {positions[-1]}",
            [stripe_invoice, self._invoice.payload_sha256, *positions],
            lambda key: self._gateway.add_lines(stripe_invoice, part, key=key),
        )

    async def _lines_of(self, invoice: StripeInvoice) -> Sequence[StripeLine]:
        """Give all lines; the first ones come with the invoice itself."""
        if not invoice.lines.has_more:
            return invoice.lines.data
        return await self._calls.ask(lambda: self._gateway.lines(invoice.id))

    async def _verified(self, frozen: FrozenInvoice, stripe_invoice: str) -> StripeInvoice:
        """Read the invoice back and compare it with ours; raise where it is not equal (I9)."""
        theirs = await self._calls.ask(lambda: self._gateway.invoice(stripe_invoice))
        wrong = complaints(frozen, theirs, await self._lines_of(theirs))
        if wrong:
            raise NeedsReviewError(f"{theirs.id} is not equal to ours: {'; '.join(wrong[:5])}")
        return theirs

    async def _finalize(self, frozen: FrozenInvoice, draft: StripeInvoice) -> None:
        self._invoice.state = "verified"
        self._invoice.changed_at = self._calls.clock()
        final = await self._calls.change(
            self._invoice.id,
            "finalize",
            [draft.id, frozen.payload_sha256],
            lambda key: self._gateway.finalize(draft.id, key=key),
        )
        self._invoice.due_at = final.due_at
        if final.status not in _FINAL or final.total != frozen.total_minor:
            raise NeedsReviewError(
                f"{final.id} came out of finalizing as {final.status} over {final.total}"
            )

    async def _note(self, state: str, *, error: str | None = None) -> None:
        """Commit where the invoice stands."""
        invoice = self._invoice
        invoice.state = state
        invoice.last_error = error
        invoice.changed_at = self._calls.clock()
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
        if state == "finalized":
            await tell(self._session, "invoice.finalized", invoice, invoice.changed_at)
        await self._calls.commit()


def frozen_sha256(one: Invoice, lines: Sequence[DraftLine]) -> str:
    """Hash all that an invoice in the books says."""
    key = InvoiceKey(one.customer_id, one.period, one.currency, one.kind, one.revision)
    wording = frozen_wording(one)
    frozen = Draft(key, tuple(lines), {}, detail_sha256=one.detail_sha256, wording=wording)
    return payload_sha256(frozen)


def frozen_wording(invoice: Invoice) -> Wording:
    """Give the words of an invoice as they were frozen."""
    fields = tuple((one["name"], one["value"]) for one in invoice.custom_fields)
    return Wording(fields, invoice.footer)


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
