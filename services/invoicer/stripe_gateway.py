"""The only module that imports `stripe`: calls in, frozen values and `StripeFault`s out.

It neither retries nor decides, but keeps Stripe's limits of pace. Each call that changes Stripe
takes its idempotency key, which goes into `options`: in `params` the SDK would send it as a
form field.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import msgspec
import stripe
from stripe import StripeClient

from services.invoicer.building import DraftLine
from services.invoicer.pace import pace_for
from services.invoicer.payload import line_metadata, usage_seconds
from services.invoicer.stripe_objects import (
    StripeCustomerTwin,
    StripeFault,
    StripeInvoice,
    StripeLine,
)
from services.invoicer.wording import NO_WORDING, Wording
from shared.settings import Settings

API_VERSION = "2026-08-26.dahlia"
"""The version whose published OpenAPI document our requests are tested against; the SDK's own
default would move with every upgrade of the package."""

_TIMEOUT_SECONDS = 40.0
_PAGE = 100

P = ParamSpec("P")
T = TypeVar("T")


class StripeGateway:
    """Stripe's API, as far as the invoicer uses it; use it as an async context manager."""

    def __init__(self, settings: Settings, *, http_client: stripe.HTTPClient | None = None) -> None:
        self._pace = pace_for(settings)
        self._http = http_client or stripe.HTTPXClient(timeout=_TIMEOUT_SECONDS)
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
        answer = await self._answer(
            self._v1.customers.create_async,
            {"name": name, "email": email, "metadata": {"tallybook_customer": customer_id[:500]}},
            {"idempotency_key": key},
        )
        return _read(answer, StripeCustomerTwin)

    async def customers_by_email(self, email: str) -> AsyncIterator[StripeCustomerTwin]:
        """Give the customers with an e-mail address."""
        last: str | None = None
        while True:
            params: stripe.params.CustomerListParams = {"email": email, "limit": _PAGE}
            if last:
                params["starting_after"] = last
            page = await self._answer(self._v1.customers.list_async, params)
            for item in page.data:
                last = item.id
                yield _read(item, StripeCustomerTwin)
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
        answer = await self._answer(
            self._v1.invoices.create_async, params, {"idempotency_key": key}
        )
        return _read(answer, StripeInvoice)

    async def add_lines(
        self, stripe_invoice: str, lines: Sequence[DraftLine], *, key: str
    ) -> StripeInvoice:
        """Add at most 100 lines to a draft, each with the amount that we rounded."""
        answer = await self._answer(
            self._v1.invoices.add_lines_async,
            stripe_invoice,
            {"lines": [_line_params(line) for line in lines]},
            {"idempotency_key": key},
        )
        return _read(answer, StripeInvoice)

    async def finalize(self, stripe_invoice: str, *, key: str) -> StripeInvoice:
        """Finalize a draft: from then on it is a claim on the customer."""
        answer = await self._answer(
            self._v1.invoices.finalize_invoice_async,
            stripe_invoice,
            {"auto_advance": False},
            {"idempotency_key": key},
        )
        return _read(answer, StripeInvoice)

    async def delete_draft(self, stripe_invoice: str) -> None:
        """Delete a draft; Stripe refuses it for anything that is no draft."""
        await self._answer(self._v1.invoices.delete_async, stripe_invoice)

    async def invoice(self, stripe_invoice: str) -> StripeInvoice:
        """Read an invoice."""
        answer = await self._answer(self._v1.invoices.retrieve_async, stripe_invoice)
        return _read(answer, StripeInvoice)

    async def probe(self) -> None:
        """Make a call that changes nothing, to learn whether Stripe takes any from us."""
        await self._answer(self._v1.invoices.list_async, {"limit": 1})

    async def lines(self, stripe_invoice: str) -> list[StripeLine]:
        """Read all lines of an invoice."""
        lines: list[StripeLine] = []
        while True:
            params: stripe.params.InvoiceLineItemListParams = {"limit": _PAGE}
            if lines:
                params["starting_after"] = lines[-1].id
            page = await self._answer(
                self._v1.invoices.line_items.list_async, stripe_invoice, params
            )
            lines.extend(_read(item, StripeLine) for item in page.data)
            if not page.has_more or not page.data:
                return lines

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
            page = await self._answer(self._v1.invoices.list_async, params)
            for item in page.data:
                last = item.id
                yield _read(item, StripeInvoice)
            if not page.has_more:
                return

    async def _answer(
        self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Make a call in its turn; raises `StripeFault`."""
        await self._pace.turn(call.__qualname__)
        try:
            return await call(*args, **kwargs)
        except stripe.StripeError as error:
            raise _fault(error) from None


def _line_params(line: DraftLine) -> "stripe.params.InvoiceAddLinesParamsLine":
    start, end = usage_seconds(line)
    return {
        "amount": line.amount_minor,
        "description": line.description,
        "discountable": False,
        "period": {"start": start, "end": end},
        "metadata": line_metadata(line),
    }


def _read(answer: stripe.StripeObject, kind: type[T]) -> T:
    """Read what we use of an answer; the rest of it is Stripe's own."""
    try:
        return msgspec.convert(answer.to_dict(), kind)
    except msgspec.ValidationError as error:
        raise StripeFault(f"Stripe's answer is not as expected: {error}", retry="never") from None


def _fault(error: stripe.StripeError) -> StripeFault:
    """Judge an error. The message is Stripe's, which masks keys; the key itself is not in it."""
    status = error.http_status or 0
    if isinstance(error, stripe.APIConnectionError) or status < 400:
        return StripeFault("Stripe does not answer: the connection failed", retry="soon")
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return StripeFault(
            "Stripe refuses the API key; check TALLYBOOK_STRIPE_API_KEY", retry="later"
        )
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    advice = headers.get("stripe-should-retry")
    busy = status in (409, 429) or status >= 500
    if advice is not None:
        busy = advice == "true"
    return StripeFault(
        f"Stripe says ({status}): {error.user_message or 'nothing'}",
        retry="soon" if busy else "later" if status >= 500 else "never",
        answered=status not in (409, 429),
        missing=error.code == "resource_missing",
        retry_after=_seconds(headers.get("retry-after")),
    )


def _seconds(text: Any) -> float | None:
    return float(text) if isinstance(text, str) and text.isdigit() else None
