"""Brings contracts' months to what their terms and usage say now, by new line items.

Whatever was changed, a contract, an event or a meter, what stands posted is never touched:
f of the usage is reckoned anew, and the difference from what is posted is posted (I4, I5).
"""

from collections.abc import Collection, Mapping
from decimal import Decimal

from services.rater import ledger
from services.rater.counting import count_usage
from services.rater.months import open_contract_months
from services.rater.posting import LineItem, Posted, owed_line_items
from services.rater.pricing import Band
from services.rater.rules import Rules, know_contracts
from services.rater.tallying import UsageKey
from services.rater.terms import PostingState
from shared.database import Connection
from shared.periods import Period

Month = tuple[str, str]
"""A contract's id and a period."""


async def count_and_reprice(
    connection: Connection, rules: Rules, state: PostingState, months: Collection[Month]
) -> list[LineItem]:
    """Count contracts' months from their events, and post what that changes.

    Call it under the posting lock, taken exclusively. Gives the line items that were posted,
    but for what a month that was not open yet owes without usage.
    """
    await know_contracts(connection, rules, {contract_id for contract_id, _ in months})
    touched = {
        (contract_id, period)
        for contract_id, period in months
        if rules.by_id[contract_id].coverage(Period.parse(period)) is not None
    }
    await open_contract_months(connection, rules, state, touched)
    counted = await count_usage(connection, rules, months)
    await ledger.replace_usage(connection, months, counted)
    items = await owed(connection, rules, state, months, counted.totals())
    await ledger.post(connection, items)
    return items


async def owed(
    connection: Connection,
    rules: Rules,
    state: PostingState,
    months: Collection[Month],
    totals: Mapping[UsageKey, Decimal],
) -> list[LineItem]:
    """Give the line items that contracts' months lack at these totals; none when all is well."""
    posted = await _read_posted(connection, months)
    return [
        item
        for contract_id, period in sorted(months)
        for item in owed_line_items(
            rules.by_id[contract_id],
            Period.parse(period),
            totals,
            posted.get((contract_id, period), {}),
            state,
        )
    ]


async def _read_posted(
    connection: Connection, months: Collection[Month]
) -> dict[Month, dict[str, Posted]]:
    """Read what stands posted for contracts' months, by charge."""
    rows = await connection.fetch(
        "SELECT contract_id, usage_period::text, charge, band, unit_price,"
        " sum(quantity) AS quantity, sum(amount) AS amount, min(id) AS first_id"
        " FROM line_items JOIN unnest($1::text[], $2::text[]) AS m (contract, period)"
        " ON contract_id = m.contract AND usage_period = m.period"
        " GROUP BY 1, 2, 3, 4, 5 ORDER BY first_id",
        [contract_id for contract_id, _ in months],
        [period for _, period in months],
    )
    found: dict[Month, dict[str, Posted]] = {}
    for row in rows:
        of_month = found.setdefault((row["contract_id"], row["usage_period"]), {})
        band = Band(row["band"], row["quantity"], row["unit_price"], row["amount"])
        of_month.setdefault(row["charge"], Posted()).add(band, row["first_id"])
    return found
