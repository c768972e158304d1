"""One month of a few customers, the same wherever it is sent. Pure, but for `settle`.

A fault may change nothing: whatever is done to the services while this traffic goes through
them, the totals must be those of a world in which nothing was done.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from shared.periods import Period
from tests.integration.harness.events import Event, changed, encoded, executions
from tests.integration.harness.world import World

TIERED = """
meters:
  executions:
    event_type: ai.execution.finished
    filter: {status: succeeded}
    aggregate: count
    dimensions: [model, key_label]
plans:
  tiered:
    version: 1
    name: Tiered
    currency: USD
    charges:
      - code: executions
        model: graduated
        meter: executions
        tiers:
          - {up_to: 100, unit_price: 0.01, flat_fee: 0}
          - {up_to: 1000, unit_price: 0.005, flat_fee: 0}
          - {up_to: null, unit_price: 0.001, flat_fee: 0}
"""
PLANS = {"ada": "byok", "ben": "byok_pro", "cyd": "tiered"}
COUNTS = {"ada": 1500, "ben": 1000, "cyd": 1200, "unknown": 100}
FAILED_EVERY = 10

BATCH = 100


def expected_amounts() -> dict[tuple[str, str], Decimal]:
    """Work the amounts out by hand: nine in ten executions succeed."""
    return {
        ("ada", "executions"): 1350 * Decimal("0.002"),
        ("ben", "executions"): 900 * Decimal("0.001"),
        ("ben", "subscription"): Decimal("19.00"),
        ("cyd", "executions"): (
            100 * Decimal("0.01") + 900 * Decimal("0.005") + 80 * Decimal("0.001")
        ),
    }


async def settle(world: World) -> None:
    """Apply the catalogues and add the customers, all but the unknown one."""
    await world.apply_catalogue()
    await world.apply_catalogue(TIERED)
    for customer, plan in PLANS.items():
        await world.add_customer(customer, plan)


def events_of(period: Period) -> list[Event]:
    """Give all events, each once, the customers' mixed."""
    by_customer = [
        executions(customer, count, period=period, failed_every=FAILED_EVERY)
        for customer, count in COUNTS.items()
    ]
    events = [event for events in by_customer for event in events]
    return [events[(number * 1009) % len(events)] for number in range(len(events))]


def batches_of(period: Period) -> Iterator[list[Event]]:
    """Give the events as they are sent: in batches, every fifth one twice."""
    events = events_of(period)
    for number, first in enumerate(range(0, len(events), BATCH)):
        batch = events[first : first + BATCH]
        yield batch
        if number % 5 == 0:
            yield batch


async def put_on_log(world: World, batches: Sequence[Sequence[Event]] | None = None) -> None:
    """Write the traffic to the log, past ingest, and one conflict after it."""
    if batches is None:
        batches = list(batches_of(world.period))
    for customer in COUNTS:
        mine = [event for batch in batches for event in batch if event["subject"] == customer]
        await world.produce(map(encoded, mine), key=customer.encode())
    first = next(iter(batches[0]))
    conflict = changed(first, output_tokens=1)
    await world.produce([encoded(conflict)], key=first["subject"].encode())
