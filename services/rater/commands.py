"""The commands for catalogue, customers and contracts."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from services.rater import contracts as book
from services.rater import documents
from services.rater.catalogue import store
from services.rater.catalogue.document import Catalogue, read_catalogue
from shared.audit import login_name
from shared.console import JsonOption, read_text, rows_table, run_in_session, show
from shared.moments import parse_moment

T = TypeVar("T")

_SHOWN = 3

catalogue = typer.Typer(help="Plans, meters, model prices, discount schedules.")
customers = typer.Typer(help="Who is billed.")
contracts = typer.Typer(help="Which customer is on which plan, from when to when.")

CatalogueFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="a YAML file")]
CustomerId = Annotated[str, typer.Argument(metavar="CUSTOMER", help="the customer's id")]
Plan = Annotated[str, typer.Argument(metavar="PLAN", help="plan, or plan@version")]
PurchaseOrder = Annotated[str | None, typer.Option(help="stands on later invoices; empty: none")]
TaxId = Annotated[str | None, typer.Option(help="stands on later invoices; empty: none")]
Discount = Annotated[str | None, typer.Option(help="a discount schedule of the catalogue")]
Override = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, help="a YAML file: by a charge's code, the fields that differ"
    ),
]


def _with_session(work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    return run_in_session("tallybook_rater", work)


def _read(file: Path) -> Catalogue:
    return read_catalogue(read_text(file), name=file.name)


def _show_changes(changes: list[store.Change], *, json: bool) -> None:
    document = documents.changes_document(changes)
    rows = [{**row, "contract_ids": _some(row["contract_ids"])} for row in document["changes"]]
    show(document, json=json, table=lambda: rows_table(rows, title="Catalogue", empty="empty"))


def _some(ids: list[str]) -> str:
    """Name the first few; --json names all."""
    return ", ".join(ids[:_SHOWN]) + (" …" if len(ids) > _SHOWN else "")


@catalogue.command("check")
def catalogue_check(file: CatalogueFile, json: JsonOption = False) -> None:
    """Tell what `apply` would change and which contracts it touches; exit 1 if refused."""
    checked = _read(file)
    now = datetime.now(UTC)
    changes = _with_session(lambda session: store.check(session, checked, now))
    _show_changes(changes, json=json)
    if any(change.what == "refused" for change in changes):
        raise typer.Exit(1)


@catalogue.command("apply")
def catalogue_apply(file: CatalogueFile, json: JsonOption = False) -> None:
    """Apply a catalogue as a whole; applying it again changes nothing."""
    applied, actor, now = _read(file), login_name(), datetime.now(UTC)
    changes = _with_session(lambda session: store.apply(session, applied, actor=actor, now=now))
    _show_changes(changes, json=json)


@catalogue.command("show")
def catalogue_show(json: JsonOption = False) -> None:
    """Show what is in force."""
    document = documents.catalogue_document(_with_session(store.in_force))
    rows = [
        {
            "plan": plan["id"],
            "currency": plan["currency"],
            "charge": charge["code"],
            "model": charge["model"],
            "price": charge.get("unit_price") or charge.get("amount") or "tiers",
        }
        for plan in document["plans"]
        for charge in plan["charges"]
    ]
    empty = "no plan is applied yet; see: catalogue apply"
    show(document, json=json, table=lambda: rows_table(rows, title="Plans", empty=empty))


@customers.command("add")
def customers_add(
    customer_id: Annotated[str, typer.Argument(metavar="ID", help="the subject of their events")],
    name: Annotated[str, typer.Option(help="as it stands on the invoice")],
    email: Annotated[str, typer.Option(help="where invoices go")],
    currency: Annotated[str, typer.Option(help="ISO 4217")] = "USD",
    purchase_order: PurchaseOrder = None,
    tax_id: TaxId = None,
    json: JsonOption = False,
) -> None:
    """Add a customer; adding the very same one again changes nothing."""
    added = _with_session(
        lambda session: book.add_customer(
            session,
            customer_id=customer_id,
            name=name,
            email=email,
            currency=currency,
            purchase_order=purchase_order,
            tax_id=tax_id,
            actor=login_name(),
            now=datetime.now(UTC),
        )
    )
    document = documents.customer_document(added)
    show(document, json=json, table=lambda: f"customer {added.id} is there")


@customers.command("update")
def customers_update(
    customer_id: Annotated[str, typer.Argument(metavar="ID", help="the customer's id")],
    name: Annotated[str | None, typer.Option(help="as it stands on the invoice")] = None,
    email: Annotated[str | None, typer.Option(help="where invoices go")] = None,
    purchase_order: PurchaseOrder = None,
    tax_id: TaxId = None,
    json: JsonOption = False,
) -> None:
    """Change a customer's details; what is not named stays as it is."""
    updated = _with_session(
        lambda session: book.update_customer(
            session,
            customer_id=customer_id,
            name=name,
            email=email,
            purchase_order=purchase_order,
            tax_id=tax_id,
            actor=login_name(),
        )
    )
    document = documents.customer_document(updated)
    show(document, json=json, table=lambda: f"{updated.id}: {updated.name}, {updated.email}")


@customers.command("list")
def customers_list(json: JsonOption = False) -> None:
    """List all customers."""
    found = [documents.customer_document(one) for one in _with_session(book.list_customers)]
    empty = "no customers yet; see: customers add"
    show(
        {"customers": found},
        json=json,
        table=lambda: rows_table(found, title="Customers", empty=empty),
    )


@customers.command("show")
def customers_show(
    customer_id: Annotated[str, typer.Argument(metavar="ID", help="the customer's id")],
    json: JsonOption = False,
) -> None:
    """Show a customer with their contracts."""

    async def read(session: AsyncSession) -> documents.Document:
        customer = documents.customer_document(await book.get_customer(session, customer_id))
        found = await book.list_contracts(session, customer_id)
        return {**customer, "contracts": [documents.contract_document(one) for one in found]}

    document = _with_session(read)
    title = f"{document['name']} ({document['email']}, {document['currency']})"
    empty = f"{title}: no contracts"
    rows = document["contracts"]
    show(document, json=json, table=lambda: rows_table(rows, title=title, empty=empty))


@contracts.command("start")
def contracts_start(
    customer_id: CustomerId,
    plan: Plan,
    start: Annotated[str, typer.Option("--from", help="first moment, such as 2026-10-01")],
    discount: Discount = None,
    override: Override = None,
    json: JsonOption = False,
) -> None:
    """Put a customer on a plan from a moment on."""
    starts_at, terms = parse_moment(start), _terms(discount, override)
    _show_contract(
        lambda session: book.start_contract(
            session,
            customer_id=customer_id,
            plan=plan,
            starts_at=starts_at,
            terms=terms,
            actor=login_name(),
            now=datetime.now(UTC),
        ),
        json=json,
    )


@contracts.command("switch")
def contracts_switch(
    customer_id: CustomerId,
    plan: Plan,
    at: Annotated[str, typer.Option(help="first moment on the new plan, such as 2026-10-16")],
    discount: Discount = None,
    override: Override = None,
    json: JsonOption = False,
) -> None:
    """Change to another plan at a moment."""
    moment, terms = parse_moment(at), _terms(discount, override)
    _show_contract(
        lambda session: book.switch_contract(
            session,
            customer_id=customer_id,
            plan=plan,
            at=moment,
            terms=terms,
            actor=login_name(),
            now=datetime.now(UTC),
        ),
        json=json,
    )


@contracts.command("end")
def contracts_end(
    customer_id: CustomerId,
    at: Annotated[str, typer.Option(help="first moment without a contract")],
    json: JsonOption = False,
) -> None:
    """End the contract in force at a moment."""
    moment = parse_moment(at)
    _show_contract(
        lambda session: book.end_contract(
            session, customer_id=customer_id, at=moment, actor=login_name()
        ),
        json=json,
    )


@contracts.command("list")
def contracts_list(customer_id: CustomerId, json: JsonOption = False) -> None:
    """List a customer's contracts."""
    found = _with_session(lambda session: book.list_contracts(session, customer_id))
    rows = [documents.contract_document(one) for one in found]
    empty = f"{customer_id} has no contracts; see: contracts start"
    show(
        {"contracts": rows},
        json=json,
        table=lambda: rows_table(rows, title="Contracts", empty=empty),
    )


def _terms(discount: str | None, override: Path | None) -> book.Terms:
    return book.Terms(discount, None if override is None else read_text(override))


def _show_contract(work: Callable[[AsyncSession], Awaitable[Any]], *, json: bool) -> None:
    document = documents.contract_document(_with_session(work))
    until = document["ends_at"] or "further notice"
    words = f"{document['customer']} is on {document['plan']} from {document['starts_at']}"
    show(document, json=json, table=lambda: f"{words} until {until} ({document['id']})")
