"""Customers at Stripe: each of ours has one there, made once and kept in step.

I/O: Postgres and Stripe.
"""

from services.invoicer.calls import Calls
from services.invoicer.stripe_gateway import StripeGateway
from services.invoicer.stripe_objects import StripeCustomerTwin, StripeFault
from shared.tables.invoicer import StripeCustomer
from shared.tables.rater import Customer


async def ensure_customer(
    calls: Calls, gateway: StripeGateway, customer_id: str
) -> tuple[str, bool]:
    """Give a customer's id at Stripe, and whether it was made just now.

    One that an unanswered call made is found again by its metadata; one whose name or address
    has changed here is changed there first. Raises `StripeFault`.
    """
    session = calls.session
    known = await session.get(StripeCustomer, customer_id)
    customer = await session.get_one(Customer, customer_id)
    await session.commit()
    is_new = False
    if known is None:
        known, is_new = await _make(calls, gateway, customer, gone=None)
    if (known.name, known.email) != (customer.name, customer.email):
        try:
            await _tell(calls, gateway, customer, known)
        except StripeFault as fault:
            if not fault.missing:
                raise
            known, is_new = await _make(calls, gateway, customer, gone=known)
    return known.stripe_customer_id, is_new


async def replace_deleted(calls: Calls, gateway: StripeGateway, customer_id: str) -> str | None:
    """Make a customer anew that was deleted at Stripe; None where it was not.

    Raises `StripeFault`.
    """
    known = await calls.session.get_one(StripeCustomer, customer_id)
    customer = await calls.session.get_one(Customer, customer_id)
    await calls.session.commit()
    if await calls.ask(lambda: gateway.is_customer_there(known.stripe_customer_id)):
        return None
    known, _ = await _make(calls, gateway, customer, gone=known)
    return known.stripe_customer_id


async def _tell(
    calls: Calls, gateway: StripeGateway, customer: Customer, known: StripeCustomer
) -> None:
    """Tell Stripe a customer's name and address."""
    twin = known.stripe_customer_id
    await calls.change(
        f"customer {customer.id}",
        "update",
        [twin, customer.name, customer.email, f"as told at {known.told_at.isoformat()}"],
        lambda key: gateway.update_customer(
            twin, name=customer.name, email=customer.email, key=key
        ),
    )
    known.name, known.email, known.told_at = customer.name, customer.email, calls.clock()
    await calls.commit()


async def _make(
    calls: Calls, gateway: StripeGateway, customer: Customer, *, gone: StripeCustomer | None
) -> tuple[StripeCustomer, bool]:
    """Find or make a customer's twin, in place of one that is gone, and note it."""
    twin = await calls.ask(lambda: _find(gateway, customer))
    is_new = twin is None
    if twin is None:
        in_place = [] if gone is None else [f"in place of {gone.stripe_customer_id}"]
        twin = await calls.change(
            f"customer {customer.id}",
            "create",
            [customer.name, customer.email, *in_place],
            lambda key: gateway.create_customer(
                customer_id=customer.id, name=customer.name, email=customer.email, key=key
            ),
        )
    now = calls.clock()
    noted = StripeCustomer(
        customer_id=customer.id,
        stripe_customer_id=twin.id,
        name=twin.name or "",
        email=twin.email or "",
        told_at=now,
        created_at=now,
    )
    noted = await calls.session.merge(noted)
    await calls.commit()
    return noted, is_new


async def _find(gateway: StripeGateway, customer: Customer) -> StripeCustomerTwin | None:
    """Find the oldest customer at Stripe that says it is ours; the newest are listed first."""
    found = None
    async for twin in gateway.customers_by_email(customer.email):
        if twin.customer_id == customer.id:
            found = twin
    return found
