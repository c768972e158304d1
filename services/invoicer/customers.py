"""Customers at Stripe: each of ours has one there, made once. I/O: Postgres and Stripe."""

from services.invoicer.calls import Calls
from services.invoicer.stripe_gateway import StripeGateway
from shared.tables.invoicer import StripeCustomer
from shared.tables.rater import Customer


async def ensure_customer(
    calls: Calls, gateway: StripeGateway, customer_id: str
) -> tuple[str, bool]:
    """Give a customer's id at Stripe, and whether it was made just now.

    One that an unanswered call made is found again by its metadata. Raises `StripeFault`.
    """
    session = calls.session
    known = await session.get(StripeCustomer, customer_id)
    if known is not None:
        await session.commit()
        return known.stripe_customer_id, False
    customer = await session.get_one(Customer, customer_id)
    await session.commit()
    found = await calls.ask(lambda: _find(gateway, customer))
    is_new = found is None
    if found is None:
        twin = await calls.change(
            f"customer {customer.id}",
            "create",
            [customer.name, customer.email],
            lambda key: gateway.create_customer(
                customer_id=customer.id, name=customer.name, email=customer.email, key=key
            ),
        )
        found = twin.id
    now = calls.clock()
    session.add(StripeCustomer(customer_id=customer.id, stripe_customer_id=found, created_at=now))
    await calls.commit()
    return found, is_new


async def _find(gateway: StripeGateway, customer: Customer) -> str | None:
    """Find the oldest customer at Stripe that says it is ours; the newest are listed first."""
    found = None
    async for twin in gateway.customers_by_email(customer.email):
        if twin.customer_id == customer.id:
            found = twin.id
    return found
