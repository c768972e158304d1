"""A notice as an e-mail that a person can read. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from typing import Any

from services.invoicer.notifying.outbox.notices import Notice, NoticeType

_HAPPENED: Mapping[NoticeType, str] = {
    "invoice.previewed": "was frozen and is to be sent",
    "invoice.finalized": "is final at Stripe",
    "invoice.paid": "is paid",
    "invoice.void": "is void",
    "usage.threshold_reached": "has reached a threshold",
    "source.silent": "is silent",
}
_KIND = {"invoice": "invoice", "usage": "customer", "source": "source"}
_LONGEST_SUBJECT = 150
_POLICY = SMTP.clone(cte_type="7bit")  # whatever the mail server can take


def letter(notice: Notice, *, sender: str, mailbox: str) -> EmailMessage:
    """Write the e-mail of a notice; each time it is sent it has the same Message-ID."""
    headline = _headline(notice)
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = mailbox
    message["Subject"] = _written_out(_printable(f"Tallybook: {headline}"))[:_LONGEST_SUBJECT]
    message["Message-ID"] = f"<{notice.id}@{parseaddr(sender)[1].rpartition('@')[2]}>"
    message["Date"] = notice.occurred_at
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_text(notice, headline))
    return message


def _headline(notice: Notice) -> str:
    kind = _KIND[notice.type.partition(".")[0]]
    headline = f"{kind} {notice.subject} {_HAPPENED[notice.type]}"
    amount = notice.data.get("total") or notice.data.get("reached")
    if (threshold := notice.data.get("threshold")) is not None:
        amount = f"{amount} of {threshold}"
    unit = notice.data.get("currency") or notice.data.get("meter")
    return headline if amount is None or unit is None else f"{headline}: {amount} {unit}"


def _text(notice: Notice, headline: str) -> str:
    facts = {"happened": _moment(notice.occurred_at), **notice.data, "notice": notice.id}
    lines = [
        f"{_printable(name.replace('_', ' '))}: {_value(value)}"
        for name, value in facts.items()
        if value is not None
    ]
    return "\n".join((f"{_printable(headline)}.", "", *lines, ""))


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%d %B %Y, %H:%M UTC")


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_value(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(one)}" for name, one in value.items())
    return _printable(str(value))


def _written_out(text: str) -> str:
    """Part what would be read as encoded: it may stand for a line's end, and so for headers."""
    return text.replace("=?", "= ?")


def _printable(text: str) -> str:
    """Put a space in the place of what is no printable character, such as a line's end."""
    return "".join(one if one.isprintable() else " " for one in text)
