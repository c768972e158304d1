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
