"""Builds the rater's world: charges, contracts, meters and the log's records. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Literal

import services.rater.catalogue
from services.rater.batch import EventColumns, StoredEvent
from services.rater.catalogue.document import Catalogue, read_catalogue
from services.rater.metering import EventTypeMeters, Reading, by_event_type
from services.rater.pricing import (
    Charge,
    Coverage,
    GraduatedCharge,
    PackageCharge,
    Tier,
    UnitCharge,
    VolumeCharge,
)
from services.rater.pricing.discounts import DiscountSchedule, DiscountTier
from services.rater.rules import Rules
from services.rater.terms import Contract, make_contract
from shared.periods import Period
from tests.shared.factories import NOW

TOPIC = "usage.events"
STARTS = datetime(2026, 1, 1, tzinfo=UTC)
WHOLE = Coverage.whole(Period(2026, 10))
"""All of a month of 31 days."""
CATALOGUE_FILE = Path(services.rater.catalogue.__file__).parent / "bizbot.yaml"


def used(time: datetime, meters: EventTypeMeters, *readings: Reading) -> EventColumns:
    """Give events of which nothing matters but their time and what meters read of them."""
    return EventColumns.of(
        [
            StoredEvent("", "", "", "", time, "", b"", 0, 0, time, meters, *reading)
            for reading in readings
        ]
    )


@cache
def shipped_catalogue() -> Catalogue:
    """Read the catalogue that ships with the project."""
    return read_catalogue(CATALOGUE_FILE.read_text(), name=CATALOGUE_FILE.name)


def shipped_meters() -> dict[str, EventTypeMeters]:
    """Give the shipped meters by event type."""
    return by_event_type(shipped_catalogue().meters)


def unit_charge(price: str = "0.002", code: str = "executions") -> UnitCharge:
    """Make a charge of one price on executions."""
    return UnitCharge(code=code, meter="executions", unit_price=Decimal(price))


def graduated_charge(*tiers: tuple[str | None, str, str], code: str = "tiered") -> GraduatedCharge:
    """Make a graduated charge on executions of tiers (up to, unit price, flat fee)."""
    return GraduatedCharge(code=code, meter="executions", tiers=_tiers(tiers))


def volume_charge(*tiers: tuple[str | None, str, str], code: str = "volume") -> VolumeCharge:
    """Make a volume charge on executions of tiers (up to, unit price, flat fee)."""
    return VolumeCharge(code=code, meter="executions", tiers=_tiers(tiers))


def _tiers(tiers: Sequence[tuple[str | None, str, str]]) -> list[Tier]:
    return [
        Tier(None if up_to is None else Decimal(up_to), Decimal(price), Decimal(flat_fee))
        for up_to, price, flat_fee in tiers
    ]


def package_charge(size: str, price: str, code: str = "packages") -> PackageCharge:
    """Make a charge for packages of executions."""
    return PackageCharge(
        code=code, meter="executions", package_size=Decimal(size), package_price=Decimal(price)
    )


def schedule(
    *tiers: tuple[str | None, str],
    charge: str = "executions",
    mode: Literal["graduated", "volume"] = "graduated",
) -> DiscountSchedule:
    """Make a discount schedule of tiers (up to, percent off)."""
    found = [
        DiscountTier(None if up_to is None else Decimal(up_to), Decimal(percent))
        for up_to, percent in tiers
    ]
    return DiscountSchedule(charge, found, mode=mode)


def contract(
    *charges: Charge,
    contract_id: str = "con_1",
    customer_id: str = "customer-1",
    starts_at: datetime = STARTS,
    ends_at: datetime | None = None,
    discount: DiscountSchedule | None = None,
) -> Contract:
    """Make a contract, by default one of two dollars for 1,000 executions."""
    return make_contract(
        contract_id=contract_id,
        customer_id=customer_id,
        starts_at=starts_at,
        ends_at=ends_at,
        currency="USD",
        plan="plan@1",
        charges=list(charges) or [unit_charge()],
        schedule=discount,
    )


def rules_of(contracts: Sequence[Contract]) -> Rules:
    """Make rules that know these contracts, and the shipped meters."""
    rules = Rules(meters=shipped_meters())
    for one in sorted(contracts, key=lambda one: one.starts_at):
        rules.by_customer.setdefault(one.customer_id, []).append(one)
        rules.by_id[one.id] = one
    return rules


@dataclass
class LogRecord:
    """A record of the log, as the rater reads it."""

    value: bytes | None
    offset: int = 0
    partition: int = 0
    topic: str = TOPIC
    timestamp: int = int(NOW.timestamp() * 1000)
    key: bytes | None = b"customer-1"
    headers: Sequence[tuple[str, bytes | None]] = field(default_factory=list)


def log_of(*values: bytes | None) -> list[LogRecord]:
    """Put values on one partition, from offset 0."""
    return [LogRecord(value, offset) for offset, value in enumerate(values)]
