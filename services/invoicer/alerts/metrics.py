"""What can be watched of alerts: how many were raised, and when it was last looked."""

from datetime import datetime
from typing import Literal, get_args

from prometheus_client import Counter, Gauge

from services.invoicer.notifying.outbox.notices import ALERTS, NoticeType

Work = Literal["thresholds", "sources"]

_RAISED = Counter("tallybook_invoicer_alerts_raised", "Alerts raised, by type of notice", ["type"])
_EVALUATED = Gauge(
    "tallybook_invoicer_alerts_evaluated_timestamp_seconds",
    "When thresholds, and sources, were last looked at to the end",
    ["work"],
)
for _type in ALERTS:  # each is there from the start, at 0
    _RAISED.labels(_type)
for _work in get_args(Work):
    _EVALUATED.labels(_work)


def told(notice_type: NoticeType, count: int) -> None:
    """Count alerts that were raised."""
    _RAISED.labels(notice_type).inc(count)


def evaluated(work: Work, now: datetime) -> None:
    """Note that all there was to look at was looked at."""
    _EVALUATED.labels(work).set(now.timestamp())
