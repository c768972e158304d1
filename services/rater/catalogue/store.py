"""Applies a catalogue to the database: what is new is added, what is in force never changes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from services.rater.catalogue.document import Catalogue
from services.rater.catalogue.recounting import recount
from services.rater.rules import change_rules
from shared import audit
from shared.errors import ConflictingStateError
from shared.money import plain
from shared.tables.rater import Contract, DiscountSchedule, Meter, ModelPrice, PlanVersion

Kind = Literal["meter", "plan", "discount_schedule", "model_price"]
What = Literal["new", "unchanged", "changed", "refused"]


class Change(msgspec.Struct, frozen=True):
    """What applying an entry would do; `contracts` names the contracts that stand on it."""

    kind: Kind
    name: str
    what: What
    detail: str = ""
    contracts: Sequence[str] = ()


class RefusedCatalogueError(ConflictingStateError):
    """A catalogue that would change what is in force; nothing of it was applied."""

    code = "catalogue_refused"

    def __init__(self, refused: list[Change]) -> None:
        self.refused = refused
        super().__init__("; ".join(f"{c.kind} {c.name}: {c.detail}" for c in refused))


_Row = Meter | PlanVersion | DiscountSchedule | ModelPrice


async def check(session: AsyncSession, catalogue: Catalogue, now: datetime) -> list[Change]:
    """Tell what applying a catalogue would do; nothing is changed."""
    return [change for change, _ in await _plan_changes(session, catalogue, now)]


async def apply(
    session: AsyncSession, catalogue: Catalogue, *, actor: str, now: datetime
) -> list[Change]:
    """Apply a catalogue as a whole, or raise `RefusedCatalogueError`; repeating does nothing."""
    await change_rules(session)
    planned = await _plan_changes(session, catalogue, now)
    if refused := [change for change, _ in planned if change.what == "refused"]:
        raise RefusedCatalogueError(refused)
    changed = [(change, row) for change, row in planned if change.what != "unchanged"]
    for change, row in changed:
        await session.merge(row)
        await audit.record(
            session,
            actor=actor,
            act="catalogue.apply",
            subject=f"{change.kind} {change.name}",
            after=_plain_row(row),
        )
    await session.flush()
    await recount(
        session,
        event_types={row.definition["event_type"] for _, row in changed if isinstance(row, Meter)},
        models={row.model for _, row in changed if isinstance(row, ModelPrice)},
    )
    await session.commit()
    return [change for change, _ in planned]


@dataclass(frozen=True, slots=True)
class InForce:
    """Everything that catalogues have applied, every version of it."""

    meters: Sequence[Meter]
    plans: Sequence[PlanVersion]
    schedules: Sequence[DiscountSchedule]
    prices: Sequence[ModelPrice]


async def in_force(session: AsyncSession) -> InForce:
    """Read the catalogue as it stands in the database."""
    meters = await session.execute(select(Meter).order_by(Meter.code))
    plans = await session.execute(select(PlanVersion).order_by(PlanVersion.id))
    schedules = await session.execute(select(DiscountSchedule).order_by(DiscountSchedule.id))
    prices = await session.execute(
        select(ModelPrice).order_by(ModelPrice.model, col(ModelPrice.effective_from))
    )
    return InForce(
        meters.scalars().all(),
        plans.scalars().all(),
        schedules.scalars().all(),
        prices.scalars().all(),
    )


def _plain_row(row: _Row) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Decimal) else value
        for name, value in row.model_dump(mode="python", exclude={"applied_at"}).items()
    }


async def _plan_changes(
    session: AsyncSession, catalogue: Catalogue, now: datetime
) -> list[tuple[Change, _Row]]:
    return [
        *[item async for item in _meters(session, catalogue, now)],
        *[item async for item in _plans(session, catalogue, now)],
        *[item async for item in _schedules(session, catalogue, now)],
        *[item async for item in _models(session, catalogue)],
    ]


async def _meters(session: AsyncSession, catalogue: Catalogue, now: datetime) -> Any:
    plans = (await session.execute(select(PlanVersion))).scalars().all()
    in_use = await _contracts_by(session, col(Contract.plan_version_id))
    for code, meter in catalogue.meters.items():
        row = Meter(code=code, definition=_document(meter), applied_at=now)
        known = await session.get(Meter, code)
        users = [plan for plan in plans if _uses(plan, code)]
        contracts = sorted(one for plan in users for one in in_use.get(plan.id, ()))
        if known is None:
            yield Change("meter", code, "new"), row
        elif known.definition == row.definition:
            yield Change("meter", code, "unchanged", contracts=contracts), row
        elif contracts:
            detail = f"{len(contracts)} contracts are billed by it; make a meter of another name"
            yield Change("meter", code, "refused", detail, contracts), row
        else:
            yield Change("meter", code, "changed"), row


async def _plans(session: AsyncSession, catalogue: Catalogue, now: datetime) -> Any:
    in_use = await _contracts_by(session, col(Contract.plan_version_id))
    newest = await _newest(session, PlanVersion.plan, PlanVersion.version)
    for code, plan in catalogue.plans.items():
        row = PlanVersion(
            id=f"{code}@{plan.version}",
            plan=code,
            version=plan.version,
            currency=plan.currency,
            definition=_document(plan),
            applied_at=now,
        )
        known = await session.get(PlanVersion, row.id)
        yield _versioned("plan", row.id, known, row, newest.get(code, 0), in_use), row


async def _schedules(session: AsyncSession, catalogue: Catalogue, now: datetime) -> Any:
    in_use = await _contracts_by(session, col(Contract.discount_schedule_id))
    newest = await _newest(session, DiscountSchedule.schedule, DiscountSchedule.version)
    for code, schedule in catalogue.discount_schedules.items():
        row = DiscountSchedule(
            id=f"{code}@{schedule.version}",
            schedule=code,
            version=schedule.version,
            definition=_document(schedule),
            applied_at=now,
        )
        known = await session.get(DiscountSchedule, row.id)
        latest = newest.get(code, 0)
        yield _versioned("discount_schedule", row.id, known, row, latest, in_use), row


def _versioned(
    kind: Kind,
    name: str,
    known: PlanVersion | DiscountSchedule | None,
    row: PlanVersion | DiscountSchedule,
    newest: int,
    in_use: Mapping[str, Sequence[str]],
) -> Change:
    contracts = in_use.get(name, ())
    if known is not None:
        if known.definition == row.definition:
            return Change(kind, name, "unchanged", contracts=contracts)
        detail = f"a version never changes; write the change as version {newest + 1}"
        return Change(kind, name, "refused", detail, contracts)
    if row.version < newest:
        detail = f"version {newest} is there already; write version {newest + 1}"
        return Change(kind, name, "refused", detail, contracts)
    return Change(kind, name, "new")


async def _models(session: AsyncSession, catalogue: Catalogue) -> Any:
    for model, price in _model_prices(catalogue):
        row = ModelPrice(
            model=model,
            effective_from=price.effective_from,
            input_per_million=price.input_per_million,
            output_per_million=price.output_per_million,
            currency=price.currency,
        )
        name = f"{model} from {price.start}"
        known = await session.get(ModelPrice, (model, price.effective_from))
        if known is None:
            yield Change("model_price", name, "new"), row
        elif _prices(known) == _prices(row):
            yield Change("model_price", name, "unchanged"), row
        else:
            detail = "a price never changes; write the new one with a later date"
            yield Change("model_price", name, "refused", detail), row


def _model_prices(catalogue: Catalogue) -> Iterator[tuple[str, Any]]:
    for model, prices in catalogue.models.items():
        for price in prices:
            yield model, price


def _prices(row: ModelPrice) -> tuple[str, str, str]:
    return plain(row.input_per_million), plain(row.output_per_million), row.currency


def _document(entry: msgspec.Struct) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(entry)
    document.pop("version", None)
    return document


def _uses(plan: PlanVersion, meter: str) -> bool:
    return any(charge.get("meter") == meter for charge in plan.definition["charges"])


async def _contracts_by(session: AsyncSession, column: Any) -> dict[str, list[str]]:
    ids = func.array_agg(aggregate_order_by(col(Contract.id), col(Contract.id)))
    rows = await session.execute(select(column, ids).group_by(column))
    return {row[0]: row[1] for row in rows if row[0] is not None}


async def _newest(session: AsyncSession, code: Any, version: Any) -> dict[str, int]:
    rows = await session.execute(select(code, func.max(version)).group_by(code))
    return {row[0]: row[1] for row in rows}
