"""Customers and their contracts: added, started, switched, ended; each act audited.

Every change is made under the posting lock, so no posting can use the old terms after it.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from services.rater.catalogue.overrides import read_overrides
from services.rater.customer_details import check_details, read_reference
from services.rater.moving import move_usage
from services.rater.pricing import Charge, discounts
from services.rater.rules import change_rules
from services.rater.terms import PlanTerms, agreed_charges
from shared import audit
from shared.errors import ConflictingStateError, InvalidInputError, NotFoundError
from shared.money import minor_unit_places
from shared.tables.rater import Contract, Customer, DiscountSchedule, PlanVersion


@dataclass(frozen=True, slots=True)
class Terms:
    """What a contract has besides its plan: a discount schedule's name, and overrides.

    Overrides are YAML or JSON: by a charge's code, the fields that are other than the plan's.
    """

    discount: str | None = None
    overrides: str | None = None


NO_TERMS = Terms()
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


async def add_customer(
    session: AsyncSession,
    *,
    customer_id: str,
    name: str,
    email: str,
    currency: str,
    actor: str,
    now: datetime,
    purchase_order: str | None = None,
    tax_id: str | None = None,
) -> Customer:
    """Add a customer; adding the very same one again changes nothing."""
    minor_unit_places(currency)
    check_details(customer_id, name, email)
    details: dict[str, Any] = {
        "name": name,
        "email": email,
        "currency": currency,
        "purchase_order": read_reference("purchase order", purchase_order),
        "tax_id": read_reference("tax id", tax_id),
    }
    known = await session.get(Customer, customer_id)
    if known is not None:
        if {field: getattr(known, field) for field in details} == details:
            return known
        raise ConflictingStateError(f"customer {customer_id} exists already with other details")
    customer = Customer(id=customer_id, created_at=now, **details)
    session.add(customer)
    await audit.record(session, actor=actor, act="customer.add", subject=customer_id, after=details)
    await session.commit()
    return customer


async def update_customer(
    session: AsyncSession,
    *,
    customer_id: str,
    name: str | None = None,
    email: str | None = None,
    purchase_order: str | None = None,
    tax_id: str | None = None,
    actor: str,
) -> Customer:
    """Change a customer's details; what is None stays as it is.

    An empty purchase order or tax id takes away the one that there is.
    """
    customer = await get_customer(session, customer_id)
    fields = ("name", "email", "purchase_order", "tax_id")
    before = {field: getattr(customer, field) for field in fields}
    customer.name = customer.name if name is None else name
    customer.email = customer.email if email is None else email
    check_details(customer_id, customer.name, customer.email)
    if purchase_order is not None:
        customer.purchase_order = read_reference("purchase order", purchase_order)
    if tax_id is not None:
        customer.tax_id = read_reference("tax id", tax_id)
    after = {field: getattr(customer, field) for field in fields}
    if after != before:
        await audit.record(
            session,
            actor=actor,
            act="customer.update",
            subject=customer_id,
            before=before,
            after=after,
        )
    await session.commit()
    return customer


async def list_customers(session: AsyncSession) -> Sequence[Customer]:
    """Give all customers by id."""
    return (await session.execute(select(Customer).order_by(Customer.id))).scalars().all()


async def get_customer(session: AsyncSession, customer_id: str) -> Customer:
    """Give a customer, or raise `NotFoundError`."""
    customer = await session.get(Customer, customer_id)
    if customer is None:
        raise NotFoundError(f"there is no customer {customer_id!r}; add it with: customers add")
    return customer


async def list_contracts(session: AsyncSession, customer_id: str) -> Sequence[Contract]:
    """Give a customer's contracts, the oldest first."""
    await get_customer(session, customer_id)
    query = (
        select(Contract)
        .where(Contract.customer_id == customer_id)
        .order_by(col(Contract.starts_at))
    )
    return (await session.execute(query)).scalars().all()


async def start_contract(
    session: AsyncSession,
    *,
    customer_id: str,
    plan: str,
    starts_at: datetime,
    terms: Terms = NO_TERMS,
    actor: str,
    now: datetime,
) -> Contract:
    """Put a customer on a plan from a moment on. Events that waited for it are rated then."""
    await change_rules(session)
    contract = await _add(session, customer_id, plan, starts_at, terms, now)
    await _record(session, actor, "contract.start", contract)
    await session.commit()
    return contract


async def switch_contract(
    session: AsyncSession,
    *,
    customer_id: str,
    plan: str,
    at: datetime,
    terms: Terms = NO_TERMS,
    actor: str,
    now: datetime,
) -> Contract:
    """End the contract in force at a moment and start another at that very moment.

    Usage from then on that was rated under the old contract is moved to the new one by new
    line items, and the old one's recurring fee is brought to the days that it now covers.
    """
    await change_rules(session)
    old = await _in_force(session, customer_id, at)
    before = _terms(old)
    if old.starts_at == at:
        raise ConflictingStateError(
            f"the contract in force starts at that very moment ({at.isoformat()}); switch later"
        )
    later_end = old.ends_at
    old.ends_at = at
    await session.flush()
    new = await _add(session, customer_id, plan, at, terms, now, ends_at=later_end)
    await move_usage(session, old.id, since=at, to=new.id)
    await _record(session, actor, "contract.switch", new, before)
    await session.commit()
    return new


async def end_contract(
    session: AsyncSession, *, customer_id: str, at: datetime, actor: str
) -> Contract:
    """End the contract in force at a moment. Usage from then on waits for another contract."""
    await change_rules(session)
    contract = await _in_force(session, customer_id, at)
    if contract.starts_at == at:
        raise ConflictingStateError("a contract cannot end at the moment at which it starts")
    before = _terms(contract)
    contract.ends_at = at
    await session.flush()
    await move_usage(session, contract.id, since=at, to=None)
    await _record(session, actor, "contract.end", contract, before)
    await session.commit()
    return contract


async def _add(
    session: AsyncSession,
    customer_id: str,
    plan: str,
    starts_at: datetime,
    terms: Terms,
    now: datetime,
    ends_at: datetime | None = None,
) -> Contract:
    customer = await get_customer(session, customer_id)
    if starts_at < _EARLIEST:
        raise InvalidInputError(f"a contract starts in {_EARLIEST:%Y} or later; is the year right?")
    version = await _plan_version(session, plan)
    if version.currency != customer.currency:
        raise ConflictingStateError(
            f"plan {version.id} is in {version.currency}, customer {customer_id} pays in"
            f" {customer.currency}"
        )
    charges = msgspec.convert(version.definition, PlanTerms, strict=False).charges
    overrides = (
        read_overrides(terms.overrides, name="overrides", charges=charges)
        if terms.overrides
        else []
    )
    schedule = await _schedule(session, terms.discount) if terms.discount else None
    if schedule is not None:
        _refuse_misfit(schedule, agreed_charges(charges, overrides, None), version.id)
    contract = Contract(
        id=f"con_{uuid.uuid4().hex[:20]}",
        customer_id=customer_id,
        plan_version_id=version.id,
        discount_schedule_id=schedule.id if schedule else None,
        overrides=msgspec.to_builtins(overrides) or None,
        starts_at=starts_at,
        ends_at=ends_at,
        created_at=now,
    )
    session.add(contract)
    try:
        await session.flush()
    except IntegrityError as error:
        if "contracts_do_not_overlap" not in str(error.orig):
            raise
        raise ConflictingStateError(
            f"customer {customer_id} has a contract in that time already; use: contracts switch"
        ) from None
    return contract


def _refuse_misfit(
    schedule: DiscountSchedule, charges: Sequence[Charge], plan_version: str
) -> None:
    terms = msgspec.convert(schedule.definition, discounts.DiscountSchedule, strict=False)
    if why := discounts.misfit(charges, terms):
        raise ConflictingStateError(
            f"discount schedule {schedule.id} cannot be laid over plan {plan_version}: {why}"
        )


async def _in_force(session: AsyncSession, customer_id: str, at: datetime) -> Contract:
    for contract in await list_contracts(session, customer_id):
        if contract.starts_at <= at and (contract.ends_at is None or at < contract.ends_at):
            return contract
    raise NotFoundError(f"customer {customer_id} has no contract in force at {at.isoformat()}")


async def _plan_version(session: AsyncSession, plan: str) -> PlanVersion:
    """Find ``plan`` in its newest version, or ``plan@version``."""
    column = PlanVersion.id if "@" in plan else PlanVersion.plan
    query = select(PlanVersion).where(column == plan).order_by(col(PlanVersion.version).desc())
    found = (await session.execute(query)).scalars().first()
    if found is None:
        raise NotFoundError(f"there is no plan {plan!r}; see: catalogue show")
    return found


async def _schedule(session: AsyncSession, name: str) -> DiscountSchedule:
    column = DiscountSchedule.id if "@" in name else DiscountSchedule.schedule
    query = (
        select(DiscountSchedule)
        .where(column == name)
        .order_by(col(DiscountSchedule.version).desc())
    )
    found = (await session.execute(query)).scalars().first()
    if found is None:
        raise NotFoundError(f"there is no discount schedule {name!r}; see: catalogue show")
    return found


def _terms(contract: Contract) -> dict[str, Any]:
    return {
        "contract": contract.id,
        "plan": contract.plan_version_id,
        "discount": contract.discount_schedule_id,
        "overrides": contract.overrides,
        "starts_at": contract.starts_at.isoformat(),
        "ends_at": contract.ends_at and contract.ends_at.isoformat(),
    }


async def _record(
    session: AsyncSession,
    actor: str,
    act: str,
    contract: Contract,
    before: dict[str, Any] | None = None,
) -> None:
    await audit.record(
        session,
        actor=actor,
        act=act,
        subject=f"customer {contract.customer_id}",
        before=before,
        after=_terms(contract),
    )
