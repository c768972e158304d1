"""What an alert may be: a rule as it is asked for, checked. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from shared.errors import InvalidInputError
from shared.money import plain
from shared.periods import Period

_MOST_THRESHOLDS = 20
_PLACES = 12
_LARGEST = Decimal(10) ** 12


class InvalidAlertError(InvalidInputError):
    """An alert that cannot be: what it says of itself does not fit together."""

    code = "invalid_alert"


@dataclass(frozen=True, slots=True)
class Wanted:
    """An alert as it is asked for: on a meter, or on spend where none is named.

    Its thresholds are `at`, quantities or amounts, or `percents` of a budget. Without a customer
    it is for every one. `since` is the first month that it looks at.
    """

    since: Period
    customer_id: str | None = None
    meter: str | None = None
    currency: str | None = None
    at: Sequence[Decimal] = ()
    budget: Decimal | None = None
    percents: Sequence[Decimal] = ()

    def thresholds(self) -> list[Decimal]:
        """Give its thresholds in order; raise `InvalidAlertError` where it is no alert."""
        if self.meter is not None and self.currency is not None:
            raise InvalidAlertError(
                "an alert on a meter counts a quantity, and has no currency; leave one of them out"
            )
        if self.budget is None and self.percents:
            raise InvalidAlertError("percents are of a budget: say how much that is")
        if self.budget is not None and (self.at or not self.percents):
            raise InvalidAlertError(
                "a budget goes with percents of it, such as 80 and 100, and with nothing else"
            )
        found = [*self.at, *self.percents]
        if not found:
            raise InvalidAlertError("name at least one threshold, or a budget and percents of it")
        if len(found) > _MOST_THRESHOLDS:
            raise InvalidAlertError(f"an alert has at most {_MOST_THRESHOLDS} thresholds")
        for one in found if self.budget is None else [self.budget, *found]:
            _check(one)
        if len(set(found)) < len(found):
            twice = next(one for one in found if found.count(one) > 1)
            raise InvalidAlertError(f"the threshold {plain(twice)} is named twice")
        return sorted(found)


def _check(number: Decimal) -> None:
    if not number.is_finite() or number <= 0:
        raise InvalidAlertError(f"{number} is no threshold or budget: those lie above 0")
    if number > _LARGEST or int(number.as_tuple().exponent) < -_PLACES:
        raise InvalidAlertError(
            f"{number} is too large or too precise: at most 10^12, with {_PLACES} decimal places"
        )


def read_decimal(text: str) -> Decimal:
    """Read a threshold, percent or budget out of a text; raise `InvalidAlertError`."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise InvalidAlertError(f"{text!r} is no decimal number, such as 250 or 99.50") from None
