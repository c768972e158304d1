"""The commands that say what a price would be: one quote, many, or every plan compared."""

import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar

import msgspec
import typer
from rich.table import Table

from services.rater.quotes.compare_request import CompareRequest, check, month_of_totals
from services.rater.quotes.comparison import ComparisonDocument, compare
from services.rater.quotes.offers import Offers
from services.rater.quotes.quote import QuoteDocument, quote
from services.rater.quotes.reading import (
    read_compared_month,
    read_offers,
    read_offers_of_file,
)
from services.rater.quotes.request import checked, quantity_fault, read_asked
from services.rater.usage.arguments import PeriodOption
from shared.console import JsonOption, out, rows_table, run_in_session, show
from shared.errors import TallybookError
from shared.periods import Period

T = TypeVar("T")

_READ_BYTES = 1 << 18

CatalogueOption = Annotated[
    Path | None,
    typer.Option(
        "--catalogue",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="take plans and prices from this file; without: from the database",
    ),
]


def quote_command(
    lines: Annotated[
        bool, typer.Option("--lines", help="a request a line in, an answer a line out, as JSON")
    ] = False,
    catalogue: CatalogueOption = None,
    json: JsonOption = False,
) -> None:
    """Price the request on standard input: quantities by charges of its own, or by a plan."""

    @cache
    def offers() -> Offers:
        if catalogue is not None:
            return read_offers_of_file(catalogue)
        return run_in_session("tallybook_rater", read_offers)

    present = Period.of(datetime.now(UTC))

    def answer(text: bytes) -> QuoteDocument:
        asked = read_asked(text)
        return quote(checked(asked, None if asked.plan is None else offers(), present))

    if not lines:
        document = answer(sys.stdin.buffer.read())
        _show(document, _quote_table, _below_lines, json=json)
    elif _answer_lines(sys.stdin.buffer, sys.stdout.buffer, answer):
        raise typer.Exit(1)


def _answer_lines(
    source: BinaryIO, target: BinaryIO, answer: Callable[[bytes], QuoteDocument]
) -> int:
    """Answer each line that is not empty with a line; give how many had no answer.

    What has come is answered before more is awaited, so that a program may ask line by line.
    """
    encode = msgspec.json.Encoder().encode
    refused = 0
    for numbered in _lines(source):
        for number, line in numbered:
            try:
                target.write(encode(answer(line)))
            except TallybookError as error:
                if error.exit_status != 1:
                    raise
                target.write(encode(_refusal(error, number)))
                refused += 1
            target.write(b"\n")
        target.flush()
    return refused


def _lines(source: BinaryIO) -> Iterator[Iterable[tuple[int, bytes]]]:
    """Give the lines that have come, with their numbers from 1, as often as some have."""
    number = 1
    begun: list[bytes] = []
    while part := source.read1(_READ_BYTES):  # type: ignore[attr-defined]  # it is buffered
        whole, newline, rest = part.rpartition(b"\n")
        if not newline:
            begun.append(rest)
            continue
        lines = b"".join([*begun, whole]).split(b"\n")
        yield [(number + i, line) for i, line in enumerate(lines) if line.strip()]
        number += len(lines)
        begun = [rest]
    if (last := b"".join(begun)).strip():
        yield [(number, last)]


def _refusal(error: TallybookError, number: int) -> dict[str, Any]:
    place = getattr(error, "place", None)
    return {
        "error": {"code": error.code, "detail": str(error), "place": place, "line": number},
    }


def _quote_table(document: QuoteDocument) -> Table | str:
    rows: list[dict[str, Any]] = [dict(line) for line in document["lines"]]
    for row in rows:
        row.pop("components", None)
    title = f"{document['total']} {document['currency']}"
    return rows_table(rows, title=title, empty=f"{title}: nothing is due")


def _below_lines(document: QuoteDocument) -> Iterator[Table | str]:
    """Say what a line's amount is made of, where its charge says it."""
    for line in document["lines"]:
        if parts := line.get("components"):
            made_of = ", ".join(f"{name} {amount}" for name, amount in parts.items())
            yield f"{line['charge']}, {line['band']}: {made_of}"


def _show(
    document: T,
    table: Callable[[T], Table | str],
    below: Callable[[T], Iterator[Table | str]],
    *,
    json: bool,
) -> None:
    show(document, json=json, table=lambda: table(document))
    if not json:
        for part in below(document):
            out.print(part)


def _read_quantity(text: str) -> Decimal:
    try:
        quantity = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is no number") from None
    if message := quantity_fault(quantity):
        raise typer.BadParameter(f"{text}: {message}")
    return quantity


def _total(name: str, what: str) -> Any:
    return typer.Option(
        name, metavar="N", parser=_read_quantity, help=f"{what} of the whole month, all together"
    )


def compare_command(
    executions: Annotated[Decimal | None, _total("--executions", "executions")] = None,
    input_tokens: Annotated[Decimal | None, _total("--input-tokens", "input tokens")] = None,
    output_tokens: Annotated[Decimal | None, _total("--output-tokens", "output tokens")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="M", help="whose tokens; priced as they cost now")
    ] = None,
    customer: Annotated[
        str | None, typer.Option(metavar="C", help="compare on what this customer really used")
    ] = None,
    period: PeriodOption = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PLAN", help="leave a plan out; may be repeated")
    ] = None,
    catalogue: CatalogueOption = None,
    json: JsonOption = False,
) -> None:
    """Compare what a month costs on every plan: its totals, or a customer's real month."""
    request = CompareRequest(
        executions=executions,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        model=model,
        customer=customer,
        period=None if period is None else str(period),
        exclude=exclude or [],
    )
    check(request)
    document = _compared(request, catalogue, datetime.now(UTC))
    _show(document, _plans_table, _below_plans, json=json)


def _compared(request: CompareRequest, catalogue: Path | None, now: datetime) -> ComparisonDocument:
    month = None
    if request.customer is not None:
        customer = request.customer
        month = run_in_session(
            "tallybook_rater",
            lambda session: read_compared_month(session, customer, request, now),
        )
    if catalogue is None:
        offers = run_in_session("tallybook_rater", read_offers)
    else:
        offers = read_offers_of_file(catalogue)
    return compare(offers, month or month_of_totals(request, offers, now), request.exclude)


def _plans_table(document: ComparisonDocument) -> Table | str:
    return rows_table(
        [dict(row) for row in document["rows"]],
        title=f"A whole month, {document['period']}, in {document['currency']}",
        empty="no plan is left to compare",
    )


def _below_plans(document: ComparisonDocument) -> Iterator[Table | str]:
    """Lay out what a monthly fee saves, in both readings, and say what is left out."""
    savings = [
        {
            "plan": one["plan"],
            "against": one["against"],
            "saved on fees for usage alone": one["fees_only"],
            "monthly fee": one["recurring"],
            "saved with it counted": one["with_recurring"],
        }
        for one in document["savings"]
    ]
    if savings:
        yield rows_table(savings, title="What a monthly fee saves", empty="")
    for one in document["left_out"]:
        yield f"left out: {one['plan']}, which is in {one['currency']}"
    if document["unpriced_models"]:
        yield f"not in the token cost: {', '.join(document['unpriced_models'])}"
    for currency, cost in document["other_token_costs"].items():
        yield f"not in the token cost: {cost} {currency}"
