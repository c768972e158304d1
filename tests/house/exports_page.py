"""Writes the reference page of the exports from their columns, bookings and accounts."""

from services.invoicer.exporting.journal import BOOKINGS, ROLES
from services.invoicer.exporting.kinds import EXPORTS, ColumnType, Export, Kind
from tests.house.repository import text_of

_HEAD = """# Exports

`tallybook export KIND --period PERIOD --format csv|json|parquet [--out FILE]`, or with a finance
key `GET /v1/exports/KIND?period=PERIOD&format=FORMAT` of the invoicer. How to use them: [hand the
month to accounting](../how-to/accounting.md).

All of an export is from one snapshot of the books, whatever happens meanwhile. A file gets its name
once it is whole; what had that name before stays until then. Columns may be added; none changes its
meaning.

| in the column | CSV | JSON | Parquet |
|---|---|---|---|
| text | as it is, but see below | string | string |
| integer | digits | number | int64 |
| decimal | in full, without exponent | string, the same | decimal128(38, 18) |
| money | in full, with the minor unit's places | string, the same | decimal128(38, 3) |
| date | `2026-10-31` | string, the same | date32 |
| moment | `2026-10-16T08:30:00Z`, UTC | string, the same | timestamp in UTC, microseconds |
| flag | `true` or `false` | `true` or `false` | boolean |
| json | the JSON, as text | as it is | the JSON, as a string |
| nothing | empty | `null` | null |

CSV is as in RFC 4180: UTF-8 without a byte order mark, a line of names, lines that end with CR LF.
So that no spreadsheet takes a text for a formula, a text that begins with `=`, `+`, `-`, `@`, a tab
or a line break has an apostrophe before it, also one that has such a sign after apostrophes; to get
the text back, take one off. Numbers are left as they are. Programs had better read JSON or Parquet.

JSON is one object a line (`.ndjson`), so that a month of any size can be read as it comes.

Parquet needs `pyarrow`, which `pip install "tallybook[export]"` brings. No number is rounded: where
a month holds a decimal of more than 20 digits before the point or 18 after it, its column is
decimal256(76, 38), and one that does not fit there is an error.
"""

_JOURNAL = """
An entry debits what is owed by the invoice's total, and credits what its lines are for; an amount
below nothing stands on the other side. What a line credits follows from its `kind`:

| kind | account |
|---|---|
{roles}
What an invoice debits follows from its state:

| state | account |
|---|---|
{states}
A fee that is made of components is split by them, a line at a time and as `tallybook quote` splits
it: each part gets what it is due, cut to the minor unit, and those that lost most by that get what
is left. A line that stands for several charges is split in the same way by its line items. An
adjustment is not split. Lines of one account, plan, charge, component and month of use are added
up. A void invoice is booked, and booked back by an entry of its own, `…/void`, on the day on which
it became void.

Payments and taxes are not in the journal: they are Stripe's to report.

Numbers and names of the accounts are these, unless `TALLYBOOK_JOURNAL_ACCOUNTS` names a file that
says otherwise; it need only hold what is other:

```yaml
{accounts}```
"""

_TYPES: dict[ColumnType, str] = {"json": "JSON"}


def exports_page() -> str:
    """Write the page of all exports."""
    return _HEAD + "".join(_section(kind, export) for kind, export in EXPORTS.items())


def _section(kind: Kind, export: Export) -> str:
    rows = "".join(
        f"| `{one.name}` | {_TYPES.get(one.type, one.type)} | {one.meaning} |\n"
        for one in export.columns
    )
    meaning = export.meaning[0].upper() + export.meaning[1:]
    text = f"\n## {kind}\n\n{meaning}.\n\n| column | type | meaning |\n|---|---|---|\n{rows}"
    return text + _journal() if kind is Kind.JOURNAL else text


def _journal() -> str:
    states = {
        state: "not booked: it is not final"
        if booking is None
        else f"`{booking.against}`{', and back' if booking.undone else ''}"
        for state, booking in BOOKINGS["invoice"].items()
    }
    return _JOURNAL.format(
        roles="".join(f"| `{kind}` | `{role}` |\n" for kind, role in ROLES.items()),
        states="".join(f"| `{state}` | {account} |\n" for state, account in states.items()),
        accounts=text_of("services/invoicer/exporting/accounts.yaml"),
    )
