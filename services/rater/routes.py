"""The rater's HTTP interface: catalogue, customers, contracts, progress.

Every route takes a key with the scope `finance`; who did an act is the key that asked for it.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.rater import contracts, documents
from services.rater.catalogue import store
from services.rater.catalogue.document import read_catalogue
from services.rater.progress import read_progress
from shared.api_keys import RequireScope
from shared.keys import FINANCE, Key
from shared.web import UtcMoment

require_finance = RequireScope(FINANCE)
Finance = Annotated[Key, Depends(require_finance)]
router = APIRouter(prefix="/v1", tags=["rater"])


async def open_session(request: Request) -> AsyncIterator[AsyncSession]:
    """Open a session of the rater's role for one request."""
    engine: AsyncEngine = request.app.state.engine
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


Session = Annotated[AsyncSession, Depends(open_session)]
CatalogueText = Annotated[str, Body(media_type="application/yaml", description="a catalogue file")]


_OVERRIDES = (
    "by a charge's code, the fields that are other than the plan's; amounts as decimal strings"
)


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewCustomer(_Input):
    """A customer to add."""

    id: str = Field(description="the subject of the customer's events")
    name: str
    email: str
    currency: str = "USD"
    purchase_order: str | None = Field(None, description="stands on the customer's invoices")
    tax_id: str | None = Field(None, description="stands on the customer's invoices")


class CustomerDetails(_Input):
    """What to change of a customer; what is left out stays."""

    name: str | None = None
    email: str | None = None
    purchase_order: str | None = Field(None, description="empty: none")
    tax_id: str | None = Field(None, description="empty: none")


class NewContract(_Input):
    """A contract to start."""

    plan: str = Field(description="`plan`, in its newest version, or `plan@version`")
    starts_at: UtcMoment = Field(alias="from")
    discount: str | None = Field(None, description="a discount schedule of the catalogue")
    overrides: dict[str, dict[str, Any]] | None = Field(None, description=_OVERRIDES)


class Switch(_Input):
    """A change to another plan."""

    plan: str = Field(description="`plan`, in its newest version, or `plan@version`")
    at: UtcMoment = Field(description="the first moment on the new plan")
    discount: str | None = Field(None, description="a discount schedule of the catalogue")
    overrides: dict[str, dict[str, Any]] | None = Field(None, description=_OVERRIDES)


class End(_Input):
    """The end of a contract."""

    at: UtcMoment = Field(description="the first moment without a contract")


def _terms(given: NewContract | Switch) -> contracts.Terms:
    overrides = given.overrides
    text = None if overrides is None else msgspec.json.encode(overrides).decode()
    return contracts.Terms(given.discount, text)


def _actor(key: Key) -> str:
    return f"key:{key.id}"


@router.get("/catalogue")
async def show_catalogue(_key: Finance, session: Session) -> dict[str, Any]:
    """Give all meters, plans, discount schedules and model prices, every version."""
    return documents.catalogue_document(await store.in_force(session))


@router.post("/catalogue/check")
async def check_catalogue(_key: Finance, session: Session, text: CatalogueText) -> dict[str, Any]:
    """Tell what applying a catalogue would change; nothing is changed."""
    catalogue = read_catalogue(text, name="catalogue")
    return documents.changes_document(await store.check(session, catalogue, datetime.now(UTC)))


@router.post("/catalogue")
async def apply_catalogue(key: Finance, session: Session, text: CatalogueText) -> dict[str, Any]:
    """Apply a catalogue as a whole; what is in force never changes."""
    catalogue = read_catalogue(text, name="catalogue")
    now = datetime.now(UTC)
    changes = await store.apply(session, catalogue, actor=_actor(key), now=now)
    return documents.changes_document(changes)


@router.get("/customers")
async def list_customers(_key: Finance, session: Session) -> dict[str, Any]:
    """Give all customers by id."""
    found = await contracts.list_customers(session)
    return {"customers": [documents.customer_document(one) for one in found]}


@router.post("/customers", status_code=201)
async def add_customer(key: Finance, session: Session, new: NewCustomer) -> dict[str, Any]:
    """Add a customer; adding the very same one again changes nothing."""
    customer = await contracts.add_customer(
        session,
        customer_id=new.id,
        name=new.name,
        email=new.email,
        currency=new.currency,
        purchase_order=new.purchase_order,
        tax_id=new.tax_id,
        actor=_actor(key),
        now=datetime.now(UTC),
    )
    return documents.customer_document(customer)


@router.get("/customers/{customer_id}")
async def show_customer(_key: Finance, session: Session, customer_id: str) -> dict[str, Any]:
    """Give a customer with their contracts."""
    customer = await contracts.get_customer(session, customer_id)
    found = await contracts.list_contracts(session, customer_id)
    document = documents.customer_document(customer)
    return {**document, "contracts": [documents.contract_document(one) for one in found]}


@router.patch("/customers/{customer_id}")
async def update_customer(
    key: Finance, session: Session, customer_id: str, details: CustomerDetails
) -> dict[str, Any]:
    """Change a customer's details; what is not named stays as it is."""
    customer = await contracts.update_customer(
        session,
        customer_id=customer_id,
        name=details.name,
        email=details.email,
        purchase_order=details.purchase_order,
        tax_id=details.tax_id,
        actor=_actor(key),
    )
    return documents.customer_document(customer)


@router.post("/customers/{customer_id}/contracts", status_code=201)
async def start_contract(
    key: Finance, session: Session, customer_id: str, new: NewContract
) -> dict[str, Any]:
    """Put a customer on a plan from a moment on; events that waited for it are rated then."""
    contract = await contracts.start_contract(
        session,
        customer_id=customer_id,
        plan=new.plan,
        starts_at=new.starts_at,
        terms=_terms(new),
        actor=_actor(key),
        now=datetime.now(UTC),
    )
    return documents.contract_document(contract)


@router.post("/customers/{customer_id}/contracts/switch", status_code=201)
async def switch_contract(
    key: Finance, session: Session, customer_id: str, switch: Switch
) -> dict[str, Any]:
    """End the contract in force at a moment and start another at that very moment."""
    contract = await contracts.switch_contract(
        session,
        customer_id=customer_id,
        plan=switch.plan,
        at=switch.at,
        terms=_terms(switch),
        actor=_actor(key),
        now=datetime.now(UTC),
    )
    return documents.contract_document(contract)


@router.post("/customers/{customer_id}/contracts/end")
async def end_contract(
    key: Finance, session: Session, customer_id: str, end: End
) -> dict[str, Any]:
    """End the contract in force at a moment."""
    contract = await contracts.end_contract(
        session, customer_id=customer_id, at=end.at, actor=_actor(key)
    )
    return documents.contract_document(contract)


@router.get("/progress")
async def show_progress(_key: Finance, session: Session, request: Request) -> dict[str, Any]:
    """Tell what became of the log's records, and how many are still to be handled."""
    return await read_progress(session, request.app.state.settings)
