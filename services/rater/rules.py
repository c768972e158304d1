"""What the rater knows of customers, contracts and meters, and the lock that keeps it true.

A posting holds `POSTING_LOCK` shared while it uses these rules; whoever changes them takes it
exclusively and raises `rating_rules.revision`. So the rules in memory are right for a posting
exactly when their revision is the database's.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg
import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.rater.metering import EventTypeMeters, Meter, by_event_type
from services.rater.pricing import Charge
from services.rater.pricing.discounts import DiscountSchedule
from services.rater.terms import Contract, PlanTerms, PostingState, make_contract
from services.rater.tokens import TokenPrice, TokenPrices
from shared.database import POSTING_LOCK, Connection


@dataclass(slots=True)
class Rules:
    """The rules of one revision: meters, token prices, and the contracts asked for so far."""

    revision: int = 0
    meters: dict[str, EventTypeMeters] = field(default_factory=dict)
    by_customer: dict[str, list[Contract]] = field(default_factory=dict)
    by_id: dict[str, Contract] = field(default_factory=dict)
    prices: TokenPrices = field(default_factory=TokenPrices)
    opened: set[tuple[str, str]] = field(default_factory=set)
    """Contracts and months known to be open; only what was committed may be noted here."""

    def contract_at(self, customer_id: str, moment: datetime) -> Contract | None:
        """Give the customer's contract in force at a moment, if there is one."""
        for contract in self.by_customer.get(customer_id, ()):
            ends_at = contract.ends_at
            if contract.starts_at <= moment and (ends_at is None or moment < ends_at):
                return contract
        return None

    def contract_ids(
        self, customer_ids: Sequence[str], moments: Sequence[datetime]
    ) -> list[str | None]:
        """Name the contract in force for each customer and moment; None where there is none."""
        found = map(self.contract_at, customer_ids, moments)
        return [None if contract is None else contract.id for contract in found]


_CONTRACTS = """
    SELECT c.id, c.customer_id, c.starts_at, c.ends_at, p.currency, p.id AS plan,
           p.definition::text AS terms, c.overrides::text AS overrides,
           d.definition::text AS schedule
    FROM contracts c
    JOIN plan_versions p ON p.id = c.plan_version_id
    LEFT JOIN discount_schedules d ON d.id = c.discount_schedule_id
"""


async def begin_posting(connection: Connection, rules: Rules) -> PostingState:
    """Take the posting lock, shared, and bring the rules up to date.

    Call it first in a transaction: what it gives holds until the transaction ends.
    """
    # The lock stands in a statement of its own: the next one must see what its holder left.
    await connection.execute("SELECT pg_advisory_xact_lock_shared($1)", POSTING_LOCK)
    batch_id, closed = await _bring_up_to_date(connection, rules, "nextval('batch_ids')")
    return PostingState(batch_id, closed)


async def load_rules(connection: Connection, rules: Rules) -> PostingState:
    """Bring the rules up to date to look at the books without the lock; nothing can be posted."""
    batch_id, closed = await _bring_up_to_date(connection, rules, "0::bigint")
    return PostingState(batch_id, closed)


async def _bring_up_to_date(
    connection: Connection, rules: Rules, batch_id: str
) -> tuple[int, frozenset[str]]:
    row = await connection.fetchrow(
        f"SELECT revision, {batch_id} AS batch_id,"
        " ARRAY(SELECT period::text FROM periods WHERE state = 'closed') AS closed"
        " FROM rating_rules"
    )
    assert row is not None
    if row["revision"] != rules.revision:
        await _reload(connection, rules, row["revision"])
    return row["batch_id"], frozenset(row["closed"])


async def _reload(connection: Connection, rules: Rules, revision: int) -> None:
    rows = await connection.fetch("SELECT code, definition::text FROM meters")
    meters = {row["code"]: msgspec.json.decode(row["definition"], type=Meter) for row in rows}
    prices = await connection.fetch(
        "SELECT model, effective_from, currency, input_per_million, output_per_million"
        " FROM model_prices"
    )
    rules.meters = by_event_type(meters)
    rules.prices = TokenPrices(TokenPrice(*row) for row in prices)
    rules.by_customer = {}
    rules.by_id = {}
    rules.opened = set()
    rules.revision = revision


async def know_customers(connection: Connection, rules: Rules, customers: Iterable[str]) -> None:
    """Read the contracts of customers that the rules do not know yet."""
    unknown = [customer for customer in customers if customer not in rules.by_customer]
    if not unknown:
        return
    rows = await connection.fetch(
        _CONTRACTS + "WHERE c.customer_id = ANY($1) ORDER BY c.starts_at", unknown
    )
    # Only now: where the question failed, the customers must be asked for again.
    for customer in unknown:
        rules.by_customer[customer] = []
    for row in rows:
        contract = read_contract(row)
        rules.by_customer[contract.customer_id].append(contract)
        rules.by_id[contract.id] = contract


async def know_contracts(
    connection: Connection, rules: Rules, contract_ids: Collection[str]
) -> None:
    """Read the customers of contracts, with all contracts that they have."""
    unknown = [one for one in contract_ids if one not in rules.by_id]
    if unknown:
        rows = await connection.fetch(
            "SELECT DISTINCT customer_id FROM contracts WHERE id = ANY($1)", unknown
        )
        await know_customers(connection, rules, [row["customer_id"] for row in rows])


def read_contract(row: asyncpg.Record) -> Contract:
    """Make a contract from a row of the contracts' query."""
    schedule, overrides = row["schedule"], row["overrides"]
    return make_contract(
        contract_id=row["id"],
        customer_id=row["customer_id"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        currency=row["currency"],
        plan=row["plan"],
        charges=msgspec.json.decode(row["terms"], type=PlanTerms).charges,
        overrides=msgspec.json.decode(overrides, type=list[Charge]) if overrides else (),
        schedule=schedule and msgspec.json.decode(schedule, type=DiscountSchedule),
    )


async def lock_posting(session: AsyncSession) -> None:
    """Take the posting lock, exclusively: nothing else is posted until the transaction ends."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": POSTING_LOCK})


async def change_rules(session: AsyncSession) -> None:
    """Take the posting lock, exclusively, for a transaction that changes the rules."""
    await lock_posting(session)
    await session.execute(text("UPDATE rating_rules SET revision = revision + 1"))
