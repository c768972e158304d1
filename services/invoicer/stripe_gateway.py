"""Stripe's API, by the SDK: calls in, frozen values and `StripeFault`s out.

It neither retries nor decides. Each call that changes Stripe takes its idempotency key,
which goes into `options`: in `params` the SDK would send it as a form field. Nothing but this
module and `stripe_transport` imports `stripe`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
import stripe
from stripe import StripeClient

from services.invoicer.building import DraftLine
from services.invoicer.following.events import TYPES, StripeEvent, read_event
from services.invoicer.pace import Pace, limits_for
from services.invoicer.payload import line_metadata, usage_seconds
from services.invoicer.stripe_objects import (
    API_VERSION,
    StripeCreditNote,
    StripeCustomerTwin,
    StripeFault,
    StripeInvoice,
    StripeLine,
)
from services.invoicer.stripe_transport import GuardedHTTP, reply
from services.invoicer.wording import NO_WORDING, Wording
from shared.settings import Settings

_CLIENTS = 6
"""Clients that calls take turns with; see `GuardedHTTP`."""
_TIMEOUT_SECONDS = 40.0
_PAGE = 100

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T]):
    """A page of a list."""

    data: list[T]
    has_more: bool


class Deletable(msgspec.Struct):
    """What may be answered as deleted."""

    deleted: bool = False


class StripeGateway:
    """Stripe's API, as far as the invoicer uses it; use it as an async context manager."""

    def __init__(self, settings: Settings, *, http_client: stripe.HTTPClient | None = None) -> None:
        clients = [stripe.HTTPXClient(timeout=_TIMEOUT_SECONDS) for _ in range(_CLIENTS)]
        self.pace = Pace(limits_for(settings))
        self._http = GuardedHTTP([http_client] if http_client else clients, self.pace)
        base = settings.stripe_api_base
        self._v1 = StripeClient(
            settings.stripe_api_key.get_secret_value(),
            stripe_version=API_VERSION,
            base_addresses={"api": base.rstrip("/")} if base else None,
            max_network_retries=0,
            http_client=self._http,
        ).v1

    async def __aenter__(self) -> "StripeGateway":
        return self

    async def __aexit__(self, *_: object) -> None:
        close: Callable[[], Awaitable[None]] = self._http.close_async
        await close()

    async def create_customer(
        self, *, customer_id: str, name: str, email: str, key: str
    ) -> StripeCustomerTwin:
        """Make a customer that carries our id in its metadata."""
        answer = self._v1.customers.create_async(
            {"name": name, "email": email, "metadata": {"tallybook_customer": customer_id[:500]}},
            {"idempotency_key": key},
        )
        return await reply(answer, StripeCustomerTwin)

    async def update_customer(
        self, stripe_customer: str, *, name: str, email: str, key: str
    ) -> None:
        """Change a customer's name and address; a deleted customer is missing."""
        await reply(
            self._v1.customers.update_async(
                stripe_customer, {"name": name, "email": email}, {"idempotency_key": key}
            ),
            StripeCustomerTwin,
        )

    async def is_customer_there(self, stripe_customer: str) -> bool:
        """Tell whether Stripe still has a customer."""
        try:
            answer = self._v1.customers.retrieve_async(stripe_customer)
            found = await reply(answer, Deletable)
        except StripeFault as fault:
            if fault.missing:
                return False
            raise
        return not found.deleted

    async def customers_by_email(self, email: str) -> AsyncIterator[StripeCustomerTwin]:
        """Give the customers with an e-mail address."""
        last: str | None = None
        while True:
            params: stripe.params.CustomerListParams = {"email": email, "limit": _PAGE}
            if last:
                params["starting_after"] = last
            page = await reply(self._v1.customers.list_async(params), Page[StripeCustomerTwin])
            for item in page.data:
                last = item.id
                yield item
            if not page.has_more:
                return

    async def create_invoice(
        self,
        *,
        stripe_customer: str,
        currency: str,
        days_until_due: int,
        metadata: Mapping[str, str],
        key: str,
        wording: Wording = NO_WORDING,
    ) -> StripeInvoice:
        """Make an empty draft that inherits nothing which could change an amount."""
        params: stripe.params.InvoiceCreateParams = {
            "customer": stripe_customer,
            "currency": currency.lower(),
            "auto_advance": False,
            "collection_method": "send_invoice",
            "days_until_due": days_until_due,
            "pending_invoice_items_behavior": "exclude",
            "discounts": "",
            "automatic_tax": {"enabled": False},
            "metadata": dict(metadata),
        }
        if wording.footer is not None:
            params["footer"] = wording.footer
        if wording.custom_fields:
            params["custom_fields"] = [
                {"name": name, "value": value} for name, value in wording.custom_fields
            ]
        answer = self._v1.invoices.create_async(params, {"idempotency_key": key})
        return await reply(answer, StripeInvoice)

    async def add_lines(
        self, stripe_invoice: str, lines: Sequence[DraftLine], *, key: str
    ) -> StripeInvoice:
        """Add at most 100 lines to a draft, each with the amount that we rounded."""
        answer = self._v1.invoices.add_lines_async(
            stripe_invoice,
            {"lines": [_line_params(line) for line in lines]},
            {"idempotency_key": key},
        )
        return await reply(answer, StripeInvoice)

    async def finalize(self, stripe_invoice: str, *, key: str) -> StripeInvoice:
        """Finalize a draft: from then on it is a claim on the customer."""
        answer = self._v1.invoices.finalize_invoice_async(
            stripe_invoice, {"auto_advance": False}, {"idempotency_key": key}
        )
        return await reply(answer, StripeInvoice)

    async def void(self, stripe_invoice: str, *, key: str) -> StripeInvoice:
        """Cancel a finalized, unpaid invoice; Stripe refuses it for any other."""
        answer = self._v1.invoices.void_invoice_async(stripe_invoice, {}, {"idempotency_key": key})
        return await reply(answer, StripeInvoice)

    async def create_credit_note(
        self,
        stripe_invoice: str,
        *,
        line: str,
        amount: int,
        to_balance: int,
        memo: str,
        credit: str,
        key: str,
    ) -> StripeCreditNote:
        """Credit a line by an amount, in minor units; what is paid goes to the balance."""
        params: stripe.params.CreditNoteCreateParams = {
            "invoice": stripe_invoice,
            "lines": [{"type": "invoice_line_item", "invoice_line_item": line, "amount": amount}],
            "memo": memo,
            "metadata": {"tallybook_credit": credit},
        }
        if to_balance:
            params["credit_amount"] = to_balance
        answer = self._v1.credit_notes.create_async(params, {"idempotency_key": key})
        return await reply(answer, StripeCreditNote)

    async def credit_notes(
        self, *, stripe_invoice: str | None = None, since: int | None = None
    ) -> list[StripeCreditNote]:
        """Read the credit notes of an invoice, or all made at or after a Unix time."""
        found: list[StripeCreditNote] = []
        while True:
            params: stripe.params.CreditNoteListParams = {"limit": _PAGE}
            if stripe_invoice is not None:
                params["invoice"] = stripe_invoice
            if since is not None:
                params["created"] = {"gte": since}
            if found:
                params["starting_after"] = found[-1].id
            page = await reply(self._v1.credit_notes.list_async(params), Page[StripeCreditNote])
            found.extend(page.data)
            if not page.has_more or not page.data:
                return found

    async def delete_draft(self, stripe_invoice: str) -> None:
        """Delete a draft; Stripe refuses it for anything that is no draft."""
        await reply(self._v1.invoices.delete_async(stripe_invoice), Deletable)

    async def invoice(self, stripe_invoice: str) -> StripeInvoice:
        """Read an invoice."""
        return await reply(self._v1.invoices.retrieve_async(stripe_invoice), StripeInvoice)

    async def lines(self, stripe_invoice: str) -> list[StripeLine]:
        """Read all lines of an invoice."""
        lines: list[StripeLine] = []
        while True:
            params: stripe.params.InvoiceLineItemListParams = {"limit": _PAGE}
            if lines:
                params["starting_after"] = lines[-1].id
            page = await reply(
                self._v1.invoices.line_items.list_async(stripe_invoice, params), Page[StripeLine]
            )
            lines.extend(page.data)
            if not page.has_more or not page.data:
                return lines

    async def events_since(self, created: int) -> list[StripeEvent]:
        """Give the events at or after a Unix time that an invoice is looked at for."""
        found: list[StripeEvent] = []
        while True:
            params: stripe.params.EventListParams = {
                "created": {"gte": created},
                "types": list(TYPES),
                "limit": _PAGE,
            }
            if found:
                params["starting_after"] = found[-1].id
            page = await reply(self._v1.events.list_async(params), Page[dict[str, Any]])
            found.extend(read_event(item) for item in page.data)
            if not page.has_more or not page.data:
                return found

    async def invoices_since(
        self, created: int, *, stripe_customer: str | None = None
    ) -> AsyncIterator[StripeInvoice]:
        """Give the invoices made at or after a Unix time, of one customer or of all."""
        last: str | None = None
        while True:
            params: stripe.params.InvoiceListParams = {"created": {"gte": created}, "limit": _PAGE}
            if stripe_customer:
                params["customer"] = stripe_customer
            if last:
                params["starting_after"] = last
            page = await reply(self._v1.invoices.list_async(params), Page[StripeInvoice])
            for item in page.data:
                last = item.id
                yield item
            if not page.has_more:
                return


def _line_params(line: DraftLine) -> "stripe.params.InvoiceAddLinesParamsLine":
    start, end = usage_seconds(line)
    return {
        "amount": line.amount_minor,
        "description": line.description,
        "discountable": False,
        "period": {"start": start, "end": end},
        "metadata": line_metadata(line),
    }
