"""Months of which the line items are given: what invoices are made from, without a rater.

I/O: writes to Postgres in the rater's role, as the rater would.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from services.invoicer.runs import list_invoices, start_run
from services.invoicer.sending import Sender
from services.invoicer.steering import begin
from services.invoicer.stripe_gateway import StripeGateway
from shared.tables.invoicer import Invoice, InvoiceRun
from tests.integration.harness.world import World
from tests.services.invoicer.postings import Item

_INSERT = """
    INSERT INTO line_items (batch_id, customer_id, contract_id, charge, band, quantity, unit_price,
        amount, currency, usage_period, posting_period, kind)
    SELECT 1, $1, $2, 'executions', band, quantity, 1, quantity, $4, $3, $3, 'usage'
    FROM unnest($5::text[], $6::numeric[]) AS i (band, quantity)
"""


async def fill_month(world: World, customers: Mapping[str, Sequence[Item]]) -> None:
    """Add customers on the plan byok, each with line items posted to the world's month."""
    for customer, items in customers.items():
        contract = await world.add_customer(customer, "byok")
        assert contract is not None
        await post(world, customer, contract.id, items)


_LIKE_THE_FIRST = """
    WITH made AS (SELECT unnest($2::text[]) AS customer),
    customers_made AS (
        INSERT INTO customers SELECT (jsonb_populate_record(c, jsonb_build_object(
            'id', customer, 'name', customer, 'email', customer || '@example.com'))).*
        FROM customers c, made WHERE c.id = $1),
    contracts_made AS (
        INSERT INTO contracts SELECT (jsonb_populate_record(c, jsonb_build_object(
            'id', 'con_of_' || customer, 'customer_id', customer))).*
        FROM contracts c, made WHERE c.customer_id = $1)
    SELECT
"""


async def fill_month_alike(world: World, customers: Sequence[str], lines: int = 3) -> None:
    """Add many customers quickly, the n-th with a total of n and `lines` line items more."""
    first, *others = customers
    contract = await world.add_customer(first, "byok")
    assert contract is not None
    await world.fetch(_LIKE_THE_FIRST, first, others)
    contracts = [contract.id, *(f"con_of_{customer}" for customer in others)]
    async with world.connect("tallybook_rater") as connection:
        await connection.execute(
            "INSERT INTO contract_months (contract_id, period) SELECT unnest($1::text[]), $2",
            contracts,
            str(world.period),
        )
        await connection.execute(
            "INSERT INTO line_items (batch_id, customer_id, contract_id, charge, band, quantity,"
            " unit_price, amount, currency, usage_period, posting_period, kind)"
            " SELECT 1, customer, contract, 'executions', 'band ' || band,"
            " CASE band WHEN 1 THEN n ELSE 1 END, 1, CASE band WHEN 1 THEN n ELSE 1 END,"
            " 'USD', $3, $3, 'usage'"
            " FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS c (customer, contract, n),"
            " generate_series(1, $4) AS band",
            customers,
            contracts,
            str(world.period),
            lines,
        )


def total_alike(place: int, lines: int = 3) -> int:
    """Give the total in cents of the customer at a place, from 0, of `fill_month_alike`."""
    return (place + lines) * 100


async def post(world: World, customer: str, contract: str, items: Sequence[Item]) -> None:
    """Post line items at one a unit, and note that the contract's month is opened."""
    async with world.connect("tallybook_rater") as connection:
        await connection.execute(
            "INSERT INTO contract_months (contract_id, period) VALUES ($1, $2)"
            " ON CONFLICT DO NOTHING",
            contract,
            str(world.period),
        )
        for currency in sorted({item.currency for item in items}):
            mine = [item for item in items if item.currency == currency]
            await connection.execute(
                _INSERT,
                customer,
                contract,
                str(world.period),
                currency,
                [item.band for item in mine],
                [Decimal(item.amount) for item in mine],
            )


async def start(world: World) -> InvoiceRun:
    """Close the month and freeze its invoices."""
    return await start_run(
        world.settings,
        world.engine("tallybook_invoicer"),
        world.period,
        actor="tests",
        clock=lambda: world.period.end,
    )


async def send(world: World, gateway: StripeGateway, **terms: object) -> InvoiceRun:
    """Send the month's run."""
    engine = world.engine("tallybook_invoicer")
    run_id = f"run_{world.period}"
    await begin(engine, run_id, approval_by="nobody", actor="tests", resume=True)
    return await Sender(engine, gateway, **terms).send(run_id)  # type: ignore[arg-type]


async def invoices(world: World) -> dict[str, Invoice]:
    """Read the month's invoices, by customer."""
    async with AsyncSession(world.engine("tallybook_invoicer")) as session:
        found = await list_invoices(session, period=world.period)
    return {one.customer_id: one for one in found}
