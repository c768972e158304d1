"""The JSON of what the rater tells: the same over HTTP and from commands."""

from typing import Any

from services.rater.catalogue.store import Change, InForce
from shared.moments import format_moment
from shared.money import plain
from shared.tables.rater import Contract, Customer

Document = dict[str, Any]


def customer_document(customer: Customer) -> Document:
    """Describe a customer."""
    return {
        "id": customer.id,
        "name": customer.name,
        "email": customer.email,
        "currency": customer.currency,
        "purchase_order": customer.purchase_order,
        "tax_id": customer.tax_id,
        "created_at": format_moment(customer.created_at),
    }


def contract_document(contract: Contract) -> Document:
    """Describe a contract; its range is half-open, `ends_at` null where it has no end."""
    return {
        "id": contract.id,
        "customer": contract.customer_id,
        "plan": contract.plan_version_id,
        "discount": contract.discount_schedule_id,
        "overrides": contract.overrides or [],
        "starts_at": format_moment(contract.starts_at),
        "ends_at": format_moment(contract.ends_at),
        "created_at": format_moment(contract.created_at),
    }


def changes_document(changes: list[Change]) -> Document:
    """Describe what applying a catalogue does or would do."""
    return {
        "changes": [
            {
                "kind": change.kind,
                "name": change.name,
                "what": change.what,
                "contracts": len(change.contracts),
                "contract_ids": list(change.contracts),
                "detail": change.detail or None,
            }
            for change in changes
        ]
    }


def catalogue_document(catalogue: InForce) -> Document:
    """Describe the catalogue in force, every version of it."""
    return {
        "meters": [{"code": one.code, **one.definition} for one in catalogue.meters],
        "plans": [
            {"id": one.id, "plan": one.plan, "version": one.version, **one.definition}
            for one in catalogue.plans
        ],
        "discount_schedules": [
            {"id": one.id, "schedule": one.schedule, "version": one.version, **one.definition}
            for one in catalogue.schedules
        ],
        "models": [
            {
                "model": one.model,
                "from": format_moment(one.effective_from),
                "currency": one.currency,
                "input_per_million": plain(one.input_per_million),
                "output_per_million": plain(one.output_per_million),
            }
            for one in catalogue.prices
        ],
    }
