"""Reads and checks what is asked to be quoted. Pure: JSON in, values or located faults out.

A number may be written as a decimal string or as a JSON number; it is read digit for digit,
and never passes through a binary float.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, TypeVar, get_args

import msgspec

from services.rater.catalogue.document import InvalidCatalogueError, charge_faults
from services.rater.catalogue.overrides import read_overrides
from services.rater.pricing import Charge, Coverage, MeteredCharge, is_metered
from services.rater.pricing.discounts import misfit
from services.rater.quotes.offers import Offer, Offers
from services.rater.terms import agreed_charges
from shared.errors import InvalidInputError
from shared.moments import InvalidMomentError, parse_moment
from shared.money import MINOR_UNITS
from shared.periods import InvalidPeriodError, Period

T = TypeVar("T")

_DEFAULT_CURRENCY = "USD"
_PLACES = 12
_LARGEST = Decimal(10) ** 12


def _models(kinds: Any) -> frozenset[str]:
    return frozenset(kind.__struct_config__.tag for kind in get_args(kinds))


_MODELS = _models(Charge)
_METERED_MODELS = _models(MeteredCharge)

Fault = tuple[str, str]
"""A place, such as ``charges[0].tiers[1].up_to``, and what is wrong there."""


class InvalidQuoteError(InvalidInputError):
    """A request that cannot be quoted; `place` says where its first fault is."""

    code = "invalid_quote"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.place = faults[0][0]
        super().__init__("; ".join(f"{place}: {message}" for place, message in faults))


class InvalidJsonError(InvalidInputError):
    """A body that is no JSON."""

    code = "invalid_json"
    status = 400


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a request holds, not yet checked: charges of its own, or a plan by name."""

    currency: str | None = None
    period: str | None = None
    charges: msgspec.Raw = msgspec.Raw()
    plan: str | None = None
    discount: str | None = None
    overrides: msgspec.Raw = msgspec.Raw()
    usage: dict[str, Decimal] = {}


@dataclass(frozen=True, slots=True)
class QuoteRequest:
    """What is to be priced: charges with the days that they cover, and quantities by meter."""

    currency: str
    charges: Sequence[tuple[Charge, Coverage]]
    usage: Mapping[str, Decimal]


class _OnlyUsage(msgspec.Struct):
    usage: dict[str, msgspec.Raw]


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # its exponent is beyond all bounds: it will be refused in its place
        return Decimal("NaN")


_ASKED = msgspec.json.Decoder(Asked, float_hook=_number)
_CHARGES = msgspec.json.Decoder(list[dict[str, Any]], float_hook=_number)
_ANYTHING = msgspec.json.Decoder(float_hook=_number)
_USAGE = msgspec.json.Decoder(_OnlyUsage)


def read_asked(text: bytes) -> Asked:
    """Read one request; raise `InvalidJsonError` or `InvalidQuoteError`."""
    return _decoded(_ASKED, text, "")


def _decoded(decoder: msgspec.json.Decoder[T], text: bytes, place: str) -> T:
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        fault = located(str(error), place, lambda: _USAGE.decode(text).usage)
        raise InvalidQuoteError([fault]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJsonError(f"the request is no JSON: {error}") from None
    except RecursionError:
        raise InvalidJsonError("the request is nested too deeply") from None


def located(message: str, around: str, entries: Callable[[], Mapping[str, Any]]) -> Fault:
    """Take the place, within what was read, out of msgspec's message.

    Of an object's entry it does not say the name; `entries` gives the numbers among which it is.
    """
    found = re.search(r" - at `(?:key in )?\$([^`]*)`$", message)
    if found is None:
        return around or "request", message
    below, message = found[1], message[: found.start()]
    if below in (".usage[...]", ".components[...]"):
        wrong = [name for name, entry in entries().items() if not _is_number(entry)]
        below = below.replace("[...]", "".join(f".{name}" for name in wrong[:1]))
    return f"{around}{below.partition('[...]')[0]}".lstrip("."), message


def _is_number(entry: Any) -> bool:
    try:
        if isinstance(entry, msgspec.Raw):
            msgspec.json.decode(entry, type=Decimal)
        else:
            msgspec.convert(entry, Decimal)
    except msgspec.ValidationError:
        return False
    return True


def checked(asked: Asked, offers: Offers | None, present: Period) -> QuoteRequest:
    """Check a request; raise `InvalidQuoteError` with every fault of the first kind that it has.

    `offers` is needed only where a plan is named; `present` is the month where none is.
    """
    period = present if asked.period is None else _period(asked.period)
    if asked.plan is not None:
        if _written(asked.charges):
            raise InvalidQuoteError([("charges", "give either charges or a plan")])
        assert offers is not None, "a plan is looked up in a catalogue"
        currency, charges = _of_plan(asked, asked.plan, offers)
        whole = Coverage.whole(period)
        covered: Sequence[tuple[Charge, Coverage]] = [(charge, whole) for charge in charges]
    else:
        currency, covered = _of_charges(asked, period)
    faults = list(_usage_faults(asked.usage, [charge for charge, _ in covered]))
    if faults:
        raise InvalidQuoteError(faults)
    return QuoteRequest(currency, covered, asked.usage)


def _written(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in (b"", b"null")


def _period(text: str) -> Period:
    try:
        return Period.parse(text)
    except InvalidPeriodError as error:
        raise InvalidQuoteError([("period", str(error))]) from None


def _of_charges(asked: Asked, period: Period) -> tuple[str, Sequence[tuple[Charge, Coverage]]]:
    if not _written(asked.charges):
        raise InvalidQuoteError([("charges", "is missing; give charges, or a plan")])
    if asked.discount is not None or _written(asked.overrides):
        name = "overrides" if asked.discount is None else "discount"
        raise InvalidQuoteError([(name, "goes with a plan, not with charges")])
    currency = _DEFAULT_CURRENCY if asked.currency is None else asked.currency
    if currency not in MINOR_UNITS:
        known = ", ".join(sorted(MINOR_UNITS))
        raise InvalidQuoteError([("currency", f"{currency!r} is not known; use one of {known}")])
    return currency, _charges(bytes(asked.charges), period)


@lru_cache(maxsize=64)
def _charges(text: bytes, period: Period) -> Sequence[tuple[Charge, Coverage]]:
    """Read charges and check their numbers; many requests in a row may have the same."""
    given = _decoded(_CHARGES, text, "charges")
    covered = tuple(_charge(f"charges[{i}]", one, period) for i, one in enumerate(given))
    faults = [
        fault
        for index, (charge, _) in enumerate(covered)
        for fault in charge_faults(f"charges[{index}]", charge)
    ]
    faults += _twice([charge.code for charge, _ in covered])
    if faults:
        raise InvalidQuoteError(faults)
    return covered


def _charge(place: str, given: dict[str, Any], period: Period) -> tuple[Charge, Coverage]:
    """Read a charge as a plan would hold it; its meter is its code unless another is named."""
    if isinstance(model := given.get("model"), str):
        if model not in _MODELS:
            message = f"there is no model {model!r}; use one of {', '.join(sorted(_MODELS))}"
            raise InvalidQuoteError([(f"{place}.model", message)])
        if model in _METERED_MODELS and "code" in given:
            given.setdefault("meter", given["code"])
    starts_at = _moment(f"{place}.from", given.pop("from", None))
    ends_at = _moment(f"{place}.to", given.pop("to", None))
    try:
        charge = msgspec.convert(given, Charge)
    except msgspec.ValidationError as error:
        raise InvalidQuoteError([located(str(error), place, lambda: given["components"])]) from None
    if starts_at is None and ends_at is None:
        return charge, Coverage.whole(period)
    first = period.start if starts_at is None else starts_at
    if ends_at is not None and starts_at is not None and ends_at <= starts_at:
        raise InvalidQuoteError([(f"{place}.to", "must lie after from")])
    return charge, Coverage.of(period, first, ends_at)


def _moment(place: str, given: Any) -> datetime | None:
    if given is None:
        return None
    if not isinstance(given, str):
        raise InvalidQuoteError([(place, "write a date or time such as 2026-10-16")])
    try:
        return parse_moment(given)
    except (InvalidMomentError, OverflowError) as error:
        raise InvalidQuoteError([(place, str(error))]) from None


def _twice(codes: Sequence[str]) -> Iterator[Fault]:
    if len(set(codes)) == len(codes):
        return
    for index, code in enumerate(codes):
        if code in codes[:index]:
            yield f"charges[{index}].code", f"there is a charge {code!r} already"


def _of_plan(asked: Asked, name: str, offers: Offers) -> tuple[str, tuple[Charge, ...]]:
    plan = offers.plan(name)
    if plan is None:
        known = ", ".join(one.plan for one in offers.in_force()) or "none yet"
        raise InvalidQuoteError([("plan", f"there is no plan {name!r}; there are: {known}")])
    if asked.currency not in (None, plan.currency):
        message = f"plan {name} is in {plan.currency}; leave currency out"
        raise InvalidQuoteError([("currency", message)])
    own = _overrides(asked.overrides, plan)
    if asked.discount is None:
        return plan.currency, agreed_charges(plan.charges, own, None)
    schedule = offers.schedule(asked.discount)
    if schedule is None:
        message = f"there is no discount schedule {asked.discount!r}; see: catalogue show"
        raise InvalidQuoteError([("discount", message)])
    if why := misfit(agreed_charges(plan.charges, own, None), schedule):
        message = f"{asked.discount} cannot be laid over plan {name}: {why}"
        raise InvalidQuoteError([("discount", message)])
    return plan.currency, agreed_charges(plan.charges, own, schedule)


def _overrides(given: msgspec.Raw, plan: Offer) -> Sequence[Charge]:
    if not _written(given):
        return ()
    text = msgspec.json.encode(_decoded(_ANYTHING, bytes(given), "overrides")).decode()
    try:
        return read_overrides(text, name="overrides", charges=plan.charges)
    except InvalidCatalogueError as error:
        complaints = [(f"overrides.{one.place}", one.message) for one in error.complaints]
        raise InvalidQuoteError(complaints) from None


def _usage_faults(usage: Mapping[str, Decimal], charges: Sequence[Charge]) -> Iterator[Fault]:
    meters = {charge.meter for charge in charges if is_metered(charge)}
    for meter, quantity in usage.items():
        if meter not in meters:
            known = ", ".join(sorted(meters)) or "none"
            yield f"usage.{meter}", f"no charge is priced by this meter; there are: {known}"
        elif message := quantity_fault(quantity):
            yield f"usage.{meter}", message


def quantity_fault(quantity: Decimal) -> str | None:
    """Say what is wrong with a quantity of usage; None where nothing is."""
    if not quantity.is_finite() or quantity < 0:
        return "must be a decimal of 0 or more"
    if quantity > _LARGEST:
        return "lies above 10^12"
    if int(quantity.as_tuple().exponent) < -_PLACES:
        return f"has more than {_PLACES} decimal places"
    return None
