"""What an answer of ingest means for the events of a request. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

_HOPELESS = frozenset({400, 405, 406, 410, 411, 413, 414, 415, 422, 431})
"""Statuses that the same request gets again however often it is sent."""

_MOST_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Rejection:
    """An event that ingest looked at and did not take; `position` is that in the request."""

    position: int
    event: bytes
    code: str
    detail: str | None
    pointer: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event of which the request was refused; sending it again would change nothing."""

    event: bytes
    status: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Answered:
    """Every event of the request has a verdict."""

    accepted: int
    duplicate: int
    rejections: tuple[Rejection, ...]


@dataclass(frozen=True, slots=True)
class Again:
    """The request is to be sent again: later, or once its cause is mended.

    `after` is what Retry-After asks for, in seconds. `of_key` says that the API key is the cause.
    """

    reason: str
    after: float | None = None
    of_key: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The request will never be taken as it is; with fewer events some of them may be."""

    status: int
    code: str
    detail: str


Outcome = Answered | Again | Refused


def judge(
    status: int, headers: Mapping[str, str], body: bytes, events: Sequence[bytes], now: datetime
) -> Outcome:
    """Say what an answer means; `headers` are looked up in lower case."""
    if status == 200:
        return _verdicts(body, events)
    code, detail = _problem(body)
    if status in _HOPELESS:
        return Refused(status, code, detail)
    reason = f"{status} {code}: {detail}" if detail else f"{status} {code}"
    return Again(reason, retry_after(headers.get("retry-after"), now), status in (401, 403))


def _verdicts(body: bytes, events: Sequence[bytes]) -> Outcome:
    try:
        answer = json.loads(body)
        accepted, duplicate = int(answer["accepted"]), int(answer["duplicate"])
        if accepted == len(events):
            return Answered(accepted, 0, ())
        results = answer["results"]
        rejections = tuple(
            Rejection(position, event, str(result["code"]), result["detail"], result["pointer"])
            for position, (event, result) in enumerate(zip(events, results, strict=True))
            if result["verdict"] == "rejected"
        )
    except (ValueError, KeyError, TypeError):
        return Again("200 without verdicts: is this the address of ingest?")
    if accepted + duplicate + len(rejections) != len(events):
        return Again("200 with verdicts that do not fit the request")
    return Answered(accepted, duplicate, rejections)


def _problem(body: bytes) -> tuple[str, str]:
    """Read code and detail of a problem document (RFC 9457), as far as it is one."""
    try:
        document: Any = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return "no_problem_document", ""
    code = str(document.get("type", "")).rpartition(":")[2]
    return code or "error", str(document.get("detail", ""))[:500]


def retry_after(value: str | None, now: datetime) -> float | None:
    """Read Retry-After: seconds or a date (RFC 9110, 10.2.3); at most an hour."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(_MOST_SECONDS, float(value))
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(_MOST_SECONDS, max(0.0, (moment - now).total_seconds()))


def back_off(
    attempt: int, chance: float, after: float | None, *, first: float, most: float
) -> float:
    """Say how many seconds to wait before trying again: exponential, with full jitter.

    `attempt` counts from 0, `chance` is drawn from 0 to 1. Never less than Retry-After asks for.
    """
    ceiling = min(most, first * 2.0 ** min(attempt, 60))
    return ceiling * chance + (after or 0.0)
