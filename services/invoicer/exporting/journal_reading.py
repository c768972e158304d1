"""Reads what the journal books: a month's documents with their lines. I/O: reads of Postgres."""

from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from services.invoicer.exporting.accounts import Accounts
from services.invoicer.exporting.encoding import Row
from services.invoicer.exporting.journal import (
    Document,
    JournalError,
    JournalLine,
    Part,
    apportion,
    journal_lines,
)
from services.invoicer.reconciliation.expected import agreed_charges
from services.invoicer.reconciliation.metered import decoded
from shared.database import Connection
from shared.money import from_minor
from shared.periods import Period

Components = Mapping[str, Decimal]
Plans = Mapping[str, tuple[str, Sequence[Mapping[str, Any]]]]
"""Name and charges of each plan version."""

_LINES_AT_ONCE = 5_000
_INVOICES = """
    SELECT v.id, v.state, v.customer_id, k.name AS customer_name, v.currency, v.total_minor,
           v.changed_at, v.id AS invoice_id, l.position, l.kind, l.amount_minor,
           l.usage_period::text, l.contract_id, l.charge, c.plan_version_id,
           c.overrides::text AS overrides
    FROM invoices v JOIN customers k ON k.id = v.customer_id
    LEFT JOIN invoice_lines l ON l.invoice_id = v.id
    LEFT JOIN contracts c ON c.id = l.contract_id
    WHERE v.period = $1 ORDER BY v.customer_id, v.currency, v.id, l.position
"""
SOURCES: Mapping[str, str] = {"invoice": _INVOICES}
"""What is booked of a month: by kind of document, its lines with their document, one after another.

A document without lines has one row without a position. What a line is of is said by the
invoice's line that `invoice_id` and `position` name.
"""
_BELOW = """
    SELECT i.usage_period::text, i.charge, c.plan_version_id, c.overrides::text AS overrides,
           sum(i.amount) AS exact
    FROM invoice_line_items n JOIN line_items i ON i.id = n.line_item_id
    JOIN contracts c ON c.id = i.contract_id
    WHERE n.invoice_id = $1 AND n.position = $2
    GROUP BY 1, 2, 3, 4 ORDER BY 3, 2, 1, 4
"""
_CARRIED = "carried_forward"


async def read_plans(connection: Connection) -> Plans:
    """Read every plan version: its plan and its charges."""
    rows = await connection.fetch("SELECT id, plan, definition::text AS terms FROM plan_versions")
    return {row["id"]: (row["plan"], decoded(row["terms"])["charges"]) for row in rows}


async def read_journal(
    connection: Connection, period: Period, accounts: Accounts
) -> AsyncIterator[tuple[list[Row], int]]:
    """Book what there is of a month; gives rows, and how many documents they are of.

    Raises `JournalError` rather than give an entry that does not balance.
    """
    plans = await read_plans(connection)
    day = period.start.date().replace(day=period.days)
    for kind in SOURCES:
        async for documents in _documents(connection, kind, period, plans):
            lines = [line for one in documents for line in journal_lines(one, day, accounts)]
            yield [_row(line) for line in lines], len(documents)


async def _documents(
    connection: Connection, kind: str, period: Period, plans: Plans
) -> AsyncIterator[list[Document]]:
    """Read the documents of a kind, some at a time, each whole."""
    cursor = await connection.cursor(SOURCES[kind], str(period))
    unread: list[Any] = []
    while rows := await cursor.fetch(_LINES_AT_ONCE):
        documents: list[Document] = []
        for row in rows:
            if unread and unread[0]["id"] != row["id"]:
                documents.append(await _document(connection, kind, unread, plans))
                unread = []
            unread.append(row)
        yield documents
    if unread:
        yield [await _document(connection, kind, unread, plans)]


async def _document(
    connection: Connection, kind: str, rows: Sequence[Any], plans: Plans
) -> Document:
    head = rows[0]
    parts: list[Part] = []
    for row in rows:
        if row["position"] is not None:
            parts += await _parts(connection, row, plans)
    return Document(
        kind=kind,
        id=head["id"],
        state=head["state"],
        customer_id=head["customer_id"],
        customer_name=head["customer_name"],
        currency=head["currency"],
        total_minor=head["total_minor"],
        changed=head["changed_at"].date(),
        parts=parts,
    )


async def _parts(connection: Connection, row: Any, plans: Plans) -> list[Part]:
    """Give a line as what it is of: one that stands for several contracts or charges is split."""
    if row["kind"] == _CARRIED:
        return [Part(row["kind"], row["amount_minor"], row["usage_period"])]
    if row["contract_id"] and row["charge"]:
        return [_part(row["kind"], row["amount_minor"], row, plans)]
    below = await connection.fetch(_BELOW, row["invoice_id"], row["position"])
    try:
        exact = [one["exact"] for one in below]
        shares = apportion(row["amount_minor"], exact, row["currency"])
    except ValueError as error:
        raise JournalError(f"{row['id']}, line {row['position']}: {error}") from None
    return [_part(row["kind"], share, one, plans) for one, share in zip(below, shares, strict=True)]


def _part(kind: str, minor: int, row: Any, plans: Plans) -> Part:
    plan, charges = plans[row["plan_version_id"]]
    overrides = [] if row["overrides"] is None else decoded(row["overrides"])
    components: Components = {}
    for charge in agreed_charges(charges, overrides):
        if charge["code"] == row["charge"]:
            components = {
                name: Decimal(str(one)) for name, one in (charge.get("components") or {}).items()
            }
    return Part(kind, minor, row["usage_period"], plan, row["charge"], components)


def _row(line: JournalLine) -> Row:
    """Give a line in the order of the export's columns."""
    of, currency = line.document, line.document.currency
    return (
        line.entry,
        line.date,
        of.kind,
        of.id,
        of.state,
        of.customer_id,
        of.customer_name,
        line.account,
        line.account_name,
        from_minor(line.debit_minor, currency),
        from_minor(line.credit_minor, currency),
        currency,
        line.booked.plan,
        line.booked.charge,
        line.booked.component,
        line.usage_period,
    )
