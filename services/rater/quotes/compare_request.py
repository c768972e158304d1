"""Reads and checks what plans are to be compared on: numbers, or a customer's month. Pure."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

import msgspec

from services.rater.quotes.comparison import ComparedMonth, InvalidComparisonError
from services.rater.quotes.offers import Offers
from services.rater.quotes.request import Fault, InvalidJsonError, located, quantity_fault
from services.rater.tokens import INPUT_TOKENS, OUTPUT_TOKENS
from services.rater.usage.month import CustomerMonth, whole_quantities
from services.rater.usage.token_costs import costs_by_currency, token_costs, unpriced_models
from shared.periods import InvalidPeriodError, Period

CURRENCY = "USD"
"""The currency in which numbers alone are compared; a customer's month is in the customer's."""

EXECUTIONS = "executions"
ZERO = Decimal(0)


class CompareRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A month's totals, or a customer's real month; `exclude` names plans to leave out."""

    executions: Decimal | None = None
    input_tokens: Decimal | None = None
    output_tokens: Decimal | None = None
    model: str | None = None
    customer: str | None = None
    period: str | None = None
    exclude: list[str] = []

    def totals(self) -> dict[str, Decimal]:
        """Give the month's totals that are named, by meter."""
        given = {
            EXECUTIONS: self.executions,
            INPUT_TOKENS: self.input_tokens,
            OUTPUT_TOKENS: self.output_tokens,
        }
        return {name: quantity for name, quantity in given.items() if quantity is not None}


_DECODER = msgspec.json.Decoder(CompareRequest)


def read_compare_request(text: bytes) -> CompareRequest:
    """Read a request; raise `InvalidJsonError` or `InvalidComparisonError`."""
    try:
        return _DECODER.decode(text)
    except msgspec.ValidationError as error:
        raise InvalidComparisonError(located(str(error), "", dict)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJsonError(f"the request is no JSON: {error}") from None
    except RecursionError:
        raise InvalidJsonError("the request is nested too deeply") from None


def check(request: CompareRequest) -> None:
    """Raise `InvalidComparisonError` where the parts of a request do not go together."""
    for fault in _faults(request):
        raise InvalidComparisonError(fault, wrong_use=True)


def _faults(request: CompareRequest) -> Iterator[Fault]:
    totals = request.totals()
    if request.customer is None and not totals:
        yield "executions", "give a month's totals, or a customer"
    if request.customer is not None and totals:
        yield next(iter(totals)), "give either a month's totals or a customer"
    if request.customer is not None and request.model is not None:
        yield "model", "goes with tokens; a customer's events name their models"
    if request.customer is None and request.period is not None:
        yield "period", "goes with a customer"
    for name, quantity in totals.items():
        if message := quantity_fault(quantity):
            yield name, message


def period_of(request: CompareRequest, present: Period) -> Period:
    """Give the month that is asked for, the present one if none is named."""
    if request.period is None:
        return present
    try:
        return Period.parse(request.period)
    except InvalidPeriodError as error:
        raise InvalidComparisonError(("period", str(error)), wrong_use=True) from None


def month_of_totals(request: CompareRequest, offers: Offers, now: datetime) -> ComparedMonth:
    """Make a month of the totals; tokens cost what their model's price is now."""
    totals = request.totals()
    return ComparedMonth(Period.of(now), CURRENCY, totals, _token_costs(request, offers, now))


def month_of_customer(month: CustomerMonth) -> ComparedMonth:
    """Take a customer's real month; tokens cost what their price was at each event's time."""
    costs = token_costs(month.totals, month.prices)
    return ComparedMonth(
        month.period,
        month.currency,
        whole_quantities(month),
        costs_by_currency(costs),
        unpriced_models(costs),
    )


def _token_costs(request: CompareRequest, offers: Offers, now: datetime) -> dict[str, Decimal]:
    prices = offers.prices
    input_tokens, output_tokens = request.input_tokens or ZERO, request.output_tokens or ZERO
    if request.model is None:
        if (input_tokens or output_tokens) and _customer_pays(request, offers):
            message = "is needed with tokens, as some plans leave them to the customer"
            raise InvalidComparisonError(("model", message), wrong_use=True)
        return {}
    if request.model not in prices:
        known = ", ".join(prices.models()) or "none yet"
        message = f"there is no price of {request.model!r}; there are prices of: {known}"
        raise InvalidComparisonError(("model", message))
    price = prices.in_force(request.model, now)
    if price is None:
        message = f"{request.model} has no price yet, only from a later date on"
        raise InvalidComparisonError(("model", message))
    return {price.currency: price.cost(input_tokens, output_tokens)}


def _customer_pays(request: CompareRequest, offers: Offers) -> bool:
    return any(
        one.customer_pays_tokens and one.currency == CURRENCY and one.plan not in request.exclude
        for one in offers.in_force()
    )
