"""Raises alerts: holds every customer's months against the thresholds. I/O: Postgres.

What is raised stands in `alerts_raised` before anyone is told, in the same transaction as the
notice in the outbox: its primary key lets each be raised once, whoever else evaluates.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.invoicer.alerts.book import list_alerts, rule_of
from services.invoicer.alerts.documents import reached_document
from services.invoicer.alerts.metrics import evaluated, told
from services.invoicer.alerts.reaching import Measured, Raised, Reached, Rule, newly_reached
from services.invoicer.alerts.spending import Spending
from services.invoicer.alerts.usage_reading import read_usage
from services.invoicer.notifying.outbox.notices import Notice, NoticeType
from services.invoicer.notifying.outbox.putting import put_all
from shared.clock import Clock, present
from shared.periods import Period

log = structlog.get_logger("tallybook.invoicer")

_TYPE: NoticeType = "usage.threshold_reached"
_AFTER_CLOSE = timedelta(days=1)
"""So long a closed month is looked at still, for usage that comes late."""
_AT_ONCE = 1_000

_SPAN = text(
    "SELECT (SELECT max(period)::text FROM periods WHERE closed_at < :before"
    " AND alerts_looked_at IS NOT NULL) AS over,"
    " (SELECT min(starts_at) FROM contracts) AS first"
)
_UNSEEN = text(
    "SELECT period::text FROM periods WHERE state = 'closed' AND alerts_looked_at IS NULL"
)
_SEEN = text(
    "UPDATE periods SET alerts_looked_at = :now WHERE period = ANY(CAST(:months AS text[]))"
    " AND state = 'closed' AND alerts_looked_at IS NULL"
)
_RAISED = text(
    "SELECT alert_id, customer_id, period::text, threshold FROM alerts_raised"
    " WHERE period = ANY(CAST(:months AS text[]))"
)
_RAISE = text(
    "INSERT INTO alerts_raised (alert_id, customer_id, period, threshold, reached, raised_at)"
    " SELECT n.alert, n.customer, n.period, n.threshold, n.reached, :now"
    " FROM unnest(CAST(:alerts AS text[]), CAST(:customers AS text[]), CAST(:periods AS text[]),"
    " CAST(:thresholds AS numeric[]), CAST(:reached AS numeric[]))"
    " AS n (alert, customer, period, threshold, reached)"
    " JOIN alerts a ON a.id = n.alert AND a.removed_at IS NULL"
    " ORDER BY 1, 2, 3, 4 ON CONFLICT DO NOTHING"
    " RETURNING alert_id, customer_id, period::text, threshold"
)


class Evaluator:
    """Evaluates again and again; what it has read of line items it keeps."""

    def __init__(self, engine: AsyncEngine, clock: Clock = present) -> None:
        self._engine = engine
        self._clock = clock
        self._spending = Spending()

    async def evaluate(self) -> list[Reached]:
        """Raise every alert whose threshold is reached; give what was raised by this."""
        now = self._clock()
        async with AsyncSession(self._engine) as session:
            # Read first: of a month that is closed by now, all that follows sees the end.
            unseen = list(await session.scalars(_UNSEEN))
            rules = [rule_of(one) for one in await list_alerts(session)]
            reached = await self._reached(session, rules, now)
        raised: list[Reached] = []
        for first in range(0, len(reached), _AT_ONCE):
            async with AsyncSession(self._engine) as session:
                new = await raise_alerts(session, reached[first : first + _AT_ONCE], now)
                await session.commit()
            told(_TYPE, len(new))
            if new:
                alerts = sorted({one.rule.id for one in new})
                log.info("alerts raised", count=len(new), alerts=alerts)
            raised += new
        await self._note_seen(unseen, now)
        evaluated("thresholds", now)
        return raised

    async def _note_seen(self, months: Sequence[str], now: datetime) -> None:
        """Note that months were looked at after their close: they need not be again for ever."""
        if months:
            async with self._engine.begin() as connection:
                await connection.execute(_SEEN, {"months": list(months), "now": now})

    async def _reached(
        self, session: AsyncSession, rules: Sequence[Rule], now: datetime
    ) -> list[Reached]:
        months = await _months(session, rules, now)
        if not months:
            return []
        totals: dict[Measured, Decimal] = {}
        if any(rule.measure.meter is None for rule in rules):
            totals |= await self._spending.read(session, months)
        if on_usage := [rule for rule in rules if rule.measure.meter is not None]:
            totals |= await read_usage(
                session,
                months,
                sorted({rule.measure.meter or "" for rule in on_usage}),
                _customers(on_usage),
            )
        return newly_reached(rules, totals, await _raised(session, months))


async def _months(session: AsyncSession, rules: Sequence[Rule], now: datetime) -> list[str]:
    """Name the months to look at: from the first that an alert looks at and is open, to now's.

    One that is closed is among them for a day, and until it was looked at once since.
    """
    span = (await session.execute(_SPAN, {"before": now - _AFTER_CLOSE})).one()
    if not rules or span.first is None:
        return []
    month = max(Period.parse(min(rule.since for rule in rules)), Period.of(span.first))
    if span.over is not None:
        month = max(month, Period.parse(span.over).next())
    months = []
    while month <= Period.of(now):
        months.append(str(month))
        month = month.next()
    return months


def _customers(rules: Sequence[Rule]) -> list[str]:
    """Name the customers that rules are for; none: every one."""
    named = {rule.customer_id for rule in rules}
    return [] if None in named else sorted(one for one in named if one is not None)


async def _raised(session: AsyncSession, months: Sequence[str]) -> set[Raised]:
    rows = await session.execute(_RAISED, {"months": list(months)})
    return {Raised(*row) for row in rows}


async def raise_alerts(
    session: AsyncSession, reached: Sequence[Reached], now: datetime
) -> list[Reached]:
    """Put down what is raised, and a notice of each, in the caller's transaction.

    Gives what nobody else had raised; an alert that was removed meanwhile is not raised.
    """
    rows = await session.execute(
        _RAISE,
        {
            "alerts": [one.rule.id for one in reached],
            "customers": [one.customer_id for one in reached],
            "periods": [one.period for one in reached],
            "thresholds": [one.threshold for one in reached],
            "reached": [one.amount for one in reached],
            "now": now,
        },
    )
    new = {Raised(*row) for row in rows}
    raised = [one for one in reached if one.key in new]
    await put_all(session, [_notice(one, now) for one in raised])
    return raised


def _notice(reached: Reached, now: datetime) -> Notice:
    key = " ".join([*reached.key[:3], f"{reached.threshold.normalize():f}"])
    return Notice(_TYPE, key, reached.customer_id, now, reached_document(reached))
