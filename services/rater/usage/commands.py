"""The command that shows a customer's month as it stands."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from services.rater.usage.arguments import PeriodOption
from services.rater.usage.document import UsageDocument, usage_document
from services.rater.usage.reading import read_month
from shared.console import JsonOption, rows_table, run_in_session, show
from shared.periods import Period


def usage_command(
    customer_id: Annotated[str, typer.Argument(metavar="CUSTOMER", help="the customer's id")],
    period: PeriodOption = None,
    json: JsonOption = False,
) -> None:
    """Show what a customer has used and owes this month so far, and what the tokens cost."""
    month = period or Period.of(datetime.now(UTC))
    found = run_in_session(
        "tallybook_rater", lambda session: read_month(session, customer_id, month)
    )
    document = usage_document(found)
    show(document, json=json, table=lambda: _table(document))


def _table(document: UsageDocument) -> Table | str:
    """Lay out the lines, with quantities and sums above."""
    currency = document["currency"]
    used = ", ".join(f"{quantity} {meter}" for meter, quantity in document["meters"].items())
    payers = sorted({one["paid_by"] for one in document["tokens"].values()})
    title = (
        f"{document['customer']}, {document['period']}, as of {document['as_of']}\n"
        f"Used: {used or 'nothing is metered yet'}\n"
        f"Amount due: {document['amount_due']} {currency}\n"
        f"Tokens, in no amount due: {document['token_cost']} {currency}"
    )
    if payers:
        title += f", paid by the {' and the '.join(payers)}"
    if document["unpriced_models"]:
        title += f"\nWithout a token price: {', '.join(document['unpriced_models'])}"
    rows: list[dict[str, Any]] = [
        {
            "plan": line["plan"],
            "charge": line["charge"],
            "band": line["band"],
            "used_in": line["usage_period"],
            "quantity": line["quantity"],
            "unit_price": line["unit_price"],
            "amount": line["amount"],
        }
        for line in document["lines"]
    ]
    return rows_table(rows, title=title, empty=f"{title}\nNothing is due")
