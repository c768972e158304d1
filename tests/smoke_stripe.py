"""``python -m tests.smoke_stripe``: one invoice's whole way at Stripe itself, with a test key. I/O.

A customer is made, its invoice with two lines is created, read back, finalized and voided, all
by the invoicer's own code on a fresh database; then what can be removed at Stripe is removed.
`walk` is run against the sandbox by `make test`, so that it still works on the day it is wanted.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from services.invoicer.following.voiding import Voiding
from services.invoicer.patience import Patience
from services.invoicer.stripe_gateway import StripeGateway
from services.invoicer.stripe_objects import API_VERSION
from shared.clock import present
from shared.console import err, out
from shared.errors import TallybookError, WrongUseError
from shared.settings import SANDBOX_STRIPE_KEY
from tests.integration.harness.databases import Databases
from tests.integration.harness.servers import ServersError, running_servers
from tests.integration.harness.world import World, open_world
from tests.services.invoicer import months
from tests.services.invoicer.postings import Item

VARIABLE = "TALLYBOOK_SMOKE_STRIPE_KEY"
STRIPE = "https://api.stripe.com"
ITEMS = [Item("10"), Item("5", "other")]
AMOUNTS = [1000, 500]
"""What the lines come to, in cents."""

Say = Callable[[str], None]


class SmokeError(TallybookError):
    """Something at Stripe is not as the invoicer says it is."""

    code = "smoke"


def read_key(environment: Mapping[str, str]) -> str:
    """Give the test key that the environment holds; raise `WrongUseError` for any other."""
    key = environment.get(VARIABLE, "").strip()
    if not key:
        raise WrongUseError(
            f"{VARIABLE} is not set: make a restricted key in Stripe's test mode with write access"
            " to Customers and Invoices, and put it there"
        )
    if key.startswith(("sk_live_", "rk_live_")):
        raise WrongUseError(
            f"{VARIABLE} holds a live key, with which invoices are real: nothing was sent. Use a"
            " key of Stripe's test mode, sk_test_… or rk_test_…"
        )
    if key == SANDBOX_STRIPE_KEY or not key.startswith(("sk_test_", "rk_test_")):
        raise WrongUseError(
            f"{VARIABLE} holds no key of Stripe's test mode: those begin with sk_test_ or rk_test_,"
            " and the sandbox's own is not one of Stripe's"
        )
    return key


async def walk(world: World, *, say: Say, patience: Patience | None = None) -> None:
    """Take an invoice from its line items to a void one at the Stripe of the world's settings.

    Whatever goes wrong, no draft, open invoice or customer of it is left at Stripe.
    """
    customer = f"smoke-{os.urandom(6).hex()}"
    patience = patience or Patience()
    await world.apply_catalogue()
    await months.fill_month(world, {customer: ITEMS})
    await months.start(world)
    async with StripeGateway(world.settings) as gateway:
        # Here a key that Stripe refuses is told before anything is made.
        await patience.call(lambda: gateway.is_customer_there("cus_smoke"))
        try:
            run = await months.send(world, gateway, patience=patience)
            invoice = (await months.invoices(world))[customer]
            why = run.paused_because or invoice.last_error
            _expect(invoice.state == "finalized", f"the invoice is {invoice.state}: {why}")
            say(f"{invoice.stripe_invoice_id} is created, read back and finalized")
            await _look(gateway, invoice.stripe_invoice_id or "", "open")
            engine = world.engine("tallybook_invoicer")
            voiding = Voiding(engine, gateway, present, patience)
            await voiding.void(invoice.id, why="smoke test", reissue=False, actor="smoke test")
            await _look(gateway, invoice.stripe_invoice_id or "", "void")
            say(f"{invoice.stripe_invoice_id} is void")
        finally:
            removed = await _clean_up(world, f"{customer}@example.com")
            say(f"removed at Stripe: {', '.join(removed) or 'nothing'}")


def _expect(is_right: bool, otherwise: str) -> None:
    if not is_right:
        raise SmokeError(otherwise)


async def _look(gateway: StripeGateway, stripe_invoice: str, status: str) -> None:
    """Read the invoice at Stripe once more, and its lines by their own list."""
    theirs = await gateway.invoice(stripe_invoice)
    found = (theirs.status, theirs.total, theirs.subtotal, theirs.currency)
    _expect(found == (status, 1500, 1500, "usd"), f"{stripe_invoice} at Stripe is {found}")
    amounts = sorted((one.amount for one in await gateway.lines(stripe_invoice)), reverse=True)
    _expect(amounts == AMOUNTS, f"the lines of {stripe_invoice} at Stripe are {amounts}")


async def _clean_up(world: World, email: str) -> list[str]:
    """Delete the customer and its drafts, void what is open; give what was removed."""
    settings = world.settings
    headers = {
        "Authorization": f"Bearer {settings.stripe_api_key.get_secret_value()}",
        "Stripe-Version": API_VERSION,
    }
    removed: list[str] = []
    base = settings.stripe_api_base or STRIPE
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60) as stripe:

        async def ask(method: str, path: str, **params: str) -> list[dict[str, Any]]:
            answer = await stripe.request(method, path, params=params or None)
            if not answer.is_success:
                raise SmokeError(f"clean up by hand: {method} {path} gave {answer.status_code}")
            found: list[dict[str, Any]] = answer.json().get("data", [])
            return found

        for customer in await ask("GET", "/v1/customers", email=email):
            for invoice in await ask("GET", "/v1/invoices", customer=customer["id"]):
                path = f"/v1/invoices/{invoice['id']}"
                if invoice["status"] == "draft":
                    await ask("DELETE", path)
                elif invoice["status"] == "open":
                    await ask("POST", f"{path}/void")
                else:
                    continue
                removed.append(f"{invoice['status']} {invoice['id']}")
            await ask("DELETE", f"/v1/customers/{customer['id']}")
            removed.append(customer["id"])
    return removed


async def smoke(key: str, say: Say) -> None:
    """Walk at Stripe itself, on servers that are started for it."""
    with tempfile.TemporaryDirectory(prefix="tallybook-test-") as name:
        directory = Path(name)
        async with (
            running_servers(os.environ, directory) as servers,
            Databases(servers.database_url) as databases,
            open_world(servers, databases, directory) as world,
        ):
            real = {"stripe_api_key": SecretStr(key), "stripe_api_base": None}
            world.settings = world.settings.model_copy(update=real)
            await walk(world, say=say)


def main() -> int:
    """Run it, in words; 2 where there is no key that may be used, 1 where something is wrong."""

    def say(text: str) -> None:
        out.print(text, markup=False, highlight=False, soft_wrap=True)

    try:
        asyncio.run(smoke(read_key(os.environ), say))
    except (TallybookError, ServersError) as error:
        err.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return 2 if isinstance(error, WrongUseError) else 1
    say("Stripe does as Tallybook expects")
    return 0


if __name__ == "__main__":
    sys.exit(main())
