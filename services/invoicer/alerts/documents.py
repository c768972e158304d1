"""The JSON of alerts: the same over HTTP, from commands and in notices."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from typing_extensions import TypedDict

from services.invoicer.alerts.book import MOST_LISTED
from services.invoicer.alerts.reaching import Measure, Reached
from shared.moments import format_moment
from shared.money import plain, with_minor_unit
from shared.tables.alerts import Alert


class AlertDocument(TypedDict):
    """An alert: `on` is `spend` in a currency, or `usage` of a meter; no customer means every one.

    It has `thresholds`, amounts or quantities, or `percents` of a budget.
    """

    id: str
    customer: str | None
    on: str
    currency: str | None
    meter: str | None
    thresholds: list[str]
    budget: str | None
    percents: list[str]
    since: str
    created_by: str
    created_at: str | None
    removed_at: str | None


class AlertsDocument(TypedDict):
    """The alerts in force, the oldest first."""

    alerts: list[AlertDocument]


class ReachedDocument(TypedDict):
    """A threshold that a customer's month has reached, and what it had reached by then."""

    alert: str
    customer: str
    period: str
    on: str
    currency: str | None
    meter: str | None
    threshold: str
    reached: str
    budget: str | None
    percent: str | None


class RaisedDocument(ReachedDocument):
    """The same, and when the alert was raised."""

    raised_at: str | None


class RaisedListDocument(TypedDict):
    """What was raised, the newest first; `more`: there may be older ones than these."""

    raised: list[RaisedDocument]
    more: bool


def alert_document(alert: Alert) -> AlertDocument:
    """Describe an alert."""
    measure = Measure(alert.meter, alert.currency)
    found = list(alert.thresholds)
    return {
        "id": alert.id,
        "customer": alert.customer_id,
        "on": _on(measure),
        "currency": alert.currency,
        "meter": alert.meter,
        "thresholds": [_value(one, measure) for one in found] if alert.budget is None else [],
        "budget": None if alert.budget is None else _value(alert.budget, measure),
        "percents": [] if alert.budget is None else [plain(one) for one in found],
        "since": alert.since,
        "created_by": alert.created_by,
        "created_at": format_moment(alert.created_at),
        "removed_at": format_moment(alert.removed_at),
    }


def alerts_document(alerts: Iterable[Alert]) -> AlertsDocument:
    """Describe alerts."""
    return {"alerts": [alert_document(one) for one in alerts]}


def reached_document(reached: Reached) -> ReachedDocument:
    """Describe a threshold that was reached: what a notice tells of it."""
    rule = reached.rule
    return {
        "alert": rule.id,
        "customer": reached.customer_id,
        "period": reached.period,
        "on": _on(rule.measure),
        "currency": rule.measure.currency,
        "meter": rule.measure.meter,
        "threshold": _value(rule.bound(reached.threshold), rule.measure),
        "reached": _value(reached.amount, rule.measure),
        "budget": None if rule.budget is None else _value(rule.budget, rule.measure),
        "percent": None if rule.budget is None else plain(reached.threshold),
    }


def raised_document(raised: Sequence[tuple[Reached, datetime]]) -> RaisedListDocument:
    """Describe what was raised."""
    return {
        "raised": [
            {**reached_document(one), "raised_at": format_moment(moment)} for one, moment in raised
        ],
        "more": len(raised) == MOST_LISTED,
    }


def _on(measure: Measure) -> str:
    return "spend" if measure.meter is None else "usage"


def _value(value: Decimal, measure: Measure) -> str:
    return plain(value) if measure.currency is None else with_minor_unit(value, measure.currency)
