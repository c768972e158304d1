"""Alerts as they are kept: added, removed, listed, with what they were raised for. I/O: Postgres.

An alert never changes: to change one, remove it and add another, which raises anew.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from services.invoicer.alerts.adding import InvalidAlertError, Wanted
from services.invoicer.alerts.reaching import Measure, Reached, Rule
from shared import audit
from shared.errors import ConflictingStateError, NotFoundError
from shared.money import minor_unit_places, plain
from shared.periods import Period
from shared.tables.alerts import Alert, AlertRaised
from shared.tables.rater import Customer, Meter

MOST_LISTED = 1_000


async def add_alert(session: AsyncSession, wanted: Wanted, *, actor: str, now: datetime) -> Alert:
    """Add an alert; what it looks at may be exceeded already, and is raised then at once.

    Raises `InvalidAlertError`, `UnknownCurrencyError`, `NotFoundError` for a customer or meter
    that there is not, and `ConflictingStateError` where there is the same alert already.
    """
    thresholds = wanted.thresholds()
    customer = await _customer(session, wanted.customer_id)
    if wanted.meter is not None and await session.get(Meter, wanted.meter) is None:
        raise NotFoundError(f"there is no meter {wanted.meter!r}; see: catalogue show")
    alert = Alert(
        id=f"alt_{uuid.uuid4().hex[:12]}",
        customer_id=wanted.customer_id,
        meter=wanted.meter,
        currency=_currency(wanted, customer),
        budget=wanted.budget,
        thresholds=thresholds,
        since=str(wanted.since),
        created_by=actor,
        created_at=now,
    )
    session.add(alert)
    try:
        await session.flush()
    except IntegrityError:
        await session.rollback()
        raise ConflictingStateError(
            "there is the same alert already, with these thresholds; see: alerts list"
        ) from None
    await audit.record(session, actor=actor, act="alert.add", subject=alert.id, after=_told(alert))
    await session.commit()
    return alert


async def _customer(session: AsyncSession, customer_id: str | None) -> Customer | None:
    if customer_id is None:
        return None
    customer = await session.get(Customer, customer_id)
    if customer is None:
        raise NotFoundError(f"there is no customer {customer_id!r}; add it with: customers add")
    return customer


def _currency(wanted: Wanted, customer: Customer | None) -> str | None:
    """Give the currency of an alert on spend: the customer's own, where it is for one."""
    if wanted.meter is not None:
        return None
    if wanted.currency is not None:
        minor_unit_places(wanted.currency)
    elif customer is None:
        raise InvalidAlertError("an alert on every customer's spend needs a currency, such as USD")
    if customer is None or wanted.currency in (None, customer.currency):
        return wanted.currency if customer is None else customer.currency
    raise InvalidAlertError(
        f"customer {customer.id} is invoiced in {customer.currency}, not in {wanted.currency}"
    )


async def remove_alert(session: AsyncSession, alert_id: str, *, actor: str, now: datetime) -> Alert:
    """Remove an alert: it is raised no more; what it was raised for stays on record.

    Raises `NotFoundError`, and `ConflictingStateError` for one that was removed before.
    """
    alert = await session.get(Alert, alert_id, with_for_update=True)
    if alert is None:
        raise NotFoundError(f"there is no alert {alert_id!r}; see: alerts list")
    if alert.removed_at is not None:
        raise ConflictingStateError(f"alert {alert_id} was removed before")
    alert.removed_at = now
    await audit.record(
        session, actor=actor, act="alert.remove", subject=alert.id, before=_told(alert)
    )
    await session.commit()
    return alert


def _told(alert: Alert) -> dict[str, Any]:
    return {
        "customer": alert.customer_id,
        "meter": alert.meter,
        "currency": alert.currency,
        "budget": None if alert.budget is None else plain(alert.budget),
        "thresholds": [plain(one) for one in alert.thresholds],
        "since": alert.since,
    }


async def list_alerts(session: AsyncSession) -> Sequence[Alert]:
    """Give the alerts that are in force, the oldest first."""
    query = (
        select(Alert)
        .where(col(Alert.removed_at).is_(None))
        .order_by(col(Alert.created_at), col(Alert.id))
    )
    return (await session.execute(query)).scalars().all()


async def list_raised(
    session: AsyncSession, *, customer_id: str | None = None, period: Period | None = None
) -> list[tuple[Reached, datetime]]:
    """Give what was raised, and when, the newest 1,000 first; of a customer, of a month.

    Raises `NotFoundError` for a customer that there is not.
    """
    await _customer(session, customer_id)
    query = (
        select(AlertRaised, Alert)
        .join(Alert, col(Alert.id) == col(AlertRaised.alert_id))
        .order_by(
            col(AlertRaised.raised_at).desc(),
            col(AlertRaised.customer_id),
            col(AlertRaised.alert_id),
            col(AlertRaised.threshold),
        )
        .limit(MOST_LISTED)
    )
    if customer_id is not None:
        query = query.where(AlertRaised.customer_id == customer_id)
    if period is not None:
        query = query.where(AlertRaised.period == str(period))
    return [
        (
            Reached(rule_of(alert), one.customer_id, one.period, one.threshold, one.reached),
            one.raised_at,
        )
        for one, alert in (await session.execute(query)).all()
    ]


def rule_of(alert: Alert) -> Rule:
    """Give an alert as the rule that months are held against."""
    return Rule(
        alert.id,
        alert.customer_id,
        Measure(alert.meter, alert.currency),
        alert.budget,
        tuple(alert.thresholds),
        alert.since,
    )
