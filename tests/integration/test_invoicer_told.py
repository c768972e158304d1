"""The sandbox tells a running invoicer what happens to an invoice, set up as at Stripe."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.local.credentials import Credentials
from infra.local.webhooks import webhook_secret
from tests.infra.stripe_sandbox.checked import ok
from tests.integration.conftest import OpenWorld
from tests.integration.harness.waiting import until
from tests.services.invoicer.sent import ITEMS, SentMonth, sent_month

NEVER = 1e6
"""Seconds until the invoicer would ask Stripe again by itself."""


@pytest.fixture(scope="module")
async def month(new_world: OpenWorld) -> AsyncIterator[SentMonth]:
    """A sent month, and an invoicer that has asked Stripe for missed events, and asks no more."""
    async with new_world() as world, sent_month(world, acme=ITEMS, bob=ITEMS) as made:
        settings = world.settings
        secret = await webhook_secret(
            settings.stripe_api_base or "", settings.invoicer_url, Credentials(world.directory)
        )
        await world.start(
            "invoicer",
            stripe_webhook_secret=SecretStr(secret),
            stripe_catch_up_seconds=NEVER,
        )

        async def has_asked() -> bool:
            return await _times_asked(made) == 1

        await until(has_asked)
        yield made


async def _times_asked(month: SentMonth) -> int:
    return int((await month.stripe.requests()).get("events.list", 0))


@pytest.mark.parametrize(
    ("customer", "act", "state"),
    [("acme", "pay", "paid"), ("bob", "mark_uncollectible", "uncollectible")],
)
async def test_the_invoicer_follows_without_asking(
    month: SentMonth, customer: str, act: str, state: str
) -> None:
    await month.at_stripe(customer, act, **({"paid_out_of_band": True} if act == "pay" else {}))

    async def has_it() -> bool:
        return await month.states(customer) == [state]

    await until(has_it)
    invoice = await month.invoice(customer)
    rows = await month.world.fetch(
        "SELECT type, listed_at FROM stripe_events WHERE stripe_invoice_id = $1",
        invoice.stripe_invoice_id,
    )
    told = "invoice.paid" if act == "pay" else "invoice.marked_uncollectible"
    assert [(row["type"], row["listed_at"]) for row in rows] == [(told, None)]
    assert (await month.acts(invoice.id))[-1] == f"invoice.{state} stripe"
    assert await _times_asked(month) == 1


async def test_an_endpoint_is_made_once_for_an_address(month: SentMonth, tmp_path: Path) -> None:
    """And anew where the address is another, or the secret of the old one is lost."""
    url, own = month.world.settings.stripe_api_base or "", Credentials(tmp_path)

    async def endpoints() -> list[tuple[str, str]]:
        page = ok(await month.stripe.api.get("/v1/webhook_endpoints"))
        return [(one["id"], one["url"]) for one in page["data"]]

    ok(
        await month.stripe.api.post(
            "/v1/webhook_endpoints",
            {"url": "http://127.0.0.1:9/foreign", "enabled_events": ["invoice.paid"]},
        )
    )
    first = await webhook_secret(url, "http://127.0.0.1:9", own)
    before = await endpoints()
    assert await webhook_secret(url, "http://127.0.0.1:9", own) == first
    assert await endpoints() == before
    moved = await webhook_secret(url, "http://127.0.0.1:10", own)
    assert moved != first
    (tmp_path / "credentials.json").unlink()
    lost = await webhook_secret(url, "http://127.0.0.1:10", own)
    assert lost not in (first, moved)
    assert [address for _, address in await endpoints()] == [
        "http://127.0.0.1:10/v1/stripe/webhooks",
        "http://127.0.0.1:9/foreign",
    ]
