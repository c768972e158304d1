"""The HTTP twins of the commands: a quote, and every plan beside the others."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request

from services.rater.quotes.compare_request import check, month_of_totals, read_compare_request
from services.rater.quotes.comparison import ComparisonDocument, compare
from services.rater.quotes.quote import QuoteDocument, quote
from services.rater.quotes.reading import read_compared_month, read_offers
from services.rater.quotes.request import checked, read_asked
from services.rater.routes import Finance, Session
from shared.errors import InvalidInputError
from shared.periods import Period

router = APIRouter(prefix="/v1", tags=["prices"])

_MOST_BYTES = 100_000


class TooLargeError(InvalidInputError):
    """A body that is larger than a question of prices can be."""

    code = "too_large"
    status = 413

    def __init__(self) -> None:
        super().__init__(f"a request has at most {_MOST_BYTES:,} bytes")


def _body(properties: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    """Describe a body that is read by hand, so that no number passes through a float."""
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


_TEXT = {"type": "string"}
_DECIMAL = {"type": "string", "description": "a decimal; a JSON number is read digit for digit"}
_MONTH = {"type": "string", "description": "`YYYY-MM`; without: the present month"}

_QUOTE = _body(
    {
        "currency": _TEXT,
        "period": _MONTH,
        "charges": {"type": "array", "items": {"type": "object"}},
        "plan": _TEXT,
        "discount": _TEXT,
        "overrides": {"type": "object"},
        "usage": {"type": "object", "additionalProperties": _DECIMAL},
    },
    {"plan": "byok_pro", "usage": {"executions": "100000"}},
)
_COMPARE = _body(
    {
        "executions": _DECIMAL,
        "input_tokens": _DECIMAL,
        "output_tokens": _DECIMAL,
        "model": _TEXT,
        "customer": _TEXT,
        "period": _MONTH,
        "exclude": {"type": "array", "items": _TEXT},
    },
    {
        "executions": "1000",
        "input_tokens": "1000000",
        "output_tokens": "500000",
        "model": "claude-sonnet-4",
    },
)


async def _read(request: Request) -> bytes:
    """Read the body, and no more of it than it may have."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise TooLargeError
    return bytes(body)


@router.post("/quote", openapi_extra=_QUOTE)
async def make_quote(_key: Finance, session: Session, request: Request) -> QuoteDocument:
    """Price quantities by the charges given, or by a plan; nothing is kept."""
    asked = read_asked(await _read(request))
    offers = None if asked.plan is None else await read_offers(session)
    return quote(checked(asked, offers, Period.of(datetime.now(UTC))))


@router.post("/compare", openapi_extra=_COMPARE)
async def make_comparison(_key: Finance, session: Session, request: Request) -> ComparisonDocument:
    """Price a month's totals, or a customer's real month, on every plan in force."""
    asked, now = read_compare_request(await _read(request)), datetime.now(UTC)
    check(asked)
    month = None
    if asked.customer is not None:
        month = await read_compared_month(session, asked.customer, asked, now)
    offers = await read_offers(session)
    return compare(offers, month or month_of_totals(asked, offers, now), asked.exclude)
