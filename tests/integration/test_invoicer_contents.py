"""What stands on invoices, from the books to Stripe and back: amounts, many lines, words."""

import csv
import hashlib
import io
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from services.invoicer.carried.reading import read_balances
from services.invoicer.carrying import Minimums
from services.invoicer.detail.reading import read_detail
from services.invoicer.planning import preview
from services.invoicer.preview_documents import preview_document
from services.invoicer.reconciliation.classify import reconcile
from services.invoicer.reconciliation.differences import Difference
from services.invoicer.reconciliation.gather import gather
from services.invoicer.reopening import reopen_period
from services.invoicer.stripe_gateway import StripeGateway
from services.rater.contracts import update_customer
from shared.clock import present
from shared.errors import ConflictingStateError
from shared.tables.invoicer import Invoice
from tests.infra.stripe_sandbox.checked import ok
from tests.integration.harness.commands import tallybook
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.postings import Item, bands, total_minor
from tests.services.invoicer.stripe_side import StripeSide, stripe_side


@dataclass
class Office:
    """A world and its Stripe, in which months are invoiced one after the other."""

    world: World
    stripe: StripeSide
    gateway: StripeGateway
    contracts: dict[str, str]

    async def invoiced(self, **customers: list[Item]) -> Mapping[str, Invoice]:
        """Post line items to the world's month and invoice it to the end."""
        for customer in customers:
            if customer not in self.contracts:
                contract = await self.world.add_customer(customer, "byok")
                assert contract is not None
                self.contracts[customer] = contract.id
        for customer, contract_id in self.contracts.items():
            await months.post(self.world, customer, contract_id, customers.get(customer, []))
        await months.start(self.world)
        assert (await months.send(self.world, self.gateway)).state == "done"
        return await months.invoices(self.world)

    async def differences(self) -> dict[str, tuple[str, Decimal]]:
        """Reconcile the world's month; line items without events apart, all must be explained.

        The line items are the tests' own, so that no event accounts for them.
        """
        return {
            one.name: (one.severity, one.amount)
            for one in await self.reconciled()
            if one.name not in ("billed_twice", "orphan_line_item", "other_month")
        }

    async def reconciled(self) -> list[Difference]:
        """Give all differences of the world's month."""
        engine = self.world.engine("tallybook_invoicer")
        figures = await gather(self.world.settings, engine, self.gateway, self.world.period)
        return reconcile(figures).differences

    async def lines_at_stripe(self, invoice: Invoice) -> list[tuple[str, int]]:
        """Give description and amount of the lines at Stripe."""
        path = f"/v1/invoices/{invoice.stripe_invoice_id}/lines"
        lines = ok(await self.stripe.api.get(path, {"limit": 100}))["data"]
        return [(one["description"], one["amount"]) for one in lines]


@pytest.fixture
async def office(world: World) -> AsyncIterator[Office]:
    world.period = world.period.previous().previous()
    await world.apply_catalogue()
    process = await world.start_stripe()
    settings = world.settings.model_copy(update={"stripe_api_base": process.url})
    async with (
        stripe_side(process.url, world.directory / "stripe.sqlite3") as stripe,
        StripeGateway(settings) as gateway,
    ):
        yield Office(world, stripe, gateway, {})


async def test_small_totals_add_up_until_they_are_sent_and_credits_until_used(
    office: Office,
) -> None:
    first = office.world.period
    found = await office.invoiced(small=[Item("0.20")], credit=[Item("-7")], absent=[Item("0.30")])
    assert {one.state for one in found.values()} == {"carried_forward"}
    carried = [one.amount for one in await office.reconciled() if one.name == "carried_forward"]
    assert sorted(carried) == [Decimal(-7), Decimal("0.2"), Decimal("0.3")]

    office.world.period = first.next()
    found = await office.invoiced(small=[Item("0.10")], credit=[Item("5")])
    assert {name: (one.state, one.total_minor) for name, one in found.items()} == {
        "small": ("carried_forward", 30),
        "credit": ("carried_forward", -200),
    }
    assert (await office.differences())["taken_up"] == ("info", Decimal("6.80"))
    assert (await office.stripe.counts())["invoice"] == {}

    office.world.period = first.next().next()
    found = await office.invoiced(small=[Item("0.25")], credit=[Item("3")], absent=[Item("1")])
    assert {name: (one.state, one.total_minor) for name, one in found.items()} == {
        "small": ("finalized", 55),
        "credit": ("finalized", 100),
        "absent": ("finalized", 130),
    }
    assert await office.lines_at_stripe(found["small"]) == [
        ("byok · executions · 0.25 × $1.00 (exact 0.25)", 25),
        (f"carried forward from {first.next()}", 30),
    ]
    assert await office.lines_at_stripe(found["absent"]) == [
        ("byok · executions · 1 × $1.00 (exact 1)", 100),
        (f"carried forward from {first}", 30),
    ]
    assert await office.differences() == {"taken_up": ("info", Decimal("1.40"))}

    await office.world.fetch("UPDATE invoices SET state = 'void' WHERE total_minor = -200")
    assert await office.differences() == {
        "taken_up": ("info", Decimal("-0.60")),
        "orphan_invoice_line": ("critical", Decimal(2)),
    }


async def test_an_amount_is_taken_up_once_whatever_is_written(office: Office) -> None:
    await office.invoiced(small=[Item("0.20")])
    source = (await months.invoices(office.world))["small"].id
    office.world.period = office.world.period.next()
    taker = (await office.invoiced(small=[Item("5")]))["small"].id
    with pytest.raises(asyncpg.UniqueViolationError):
        await office.world.fetch(
            "INSERT INTO invoice_carries (source_id, invoice_id, position) VALUES ($1, $2, 1)",
            source,
            taker,
        )
    office.world.period = office.world.period.next()
    assert (await office.invoiced(small=[Item("5")]))["small"].total_minor == 500


async def test_a_month_that_is_opened_again_gives_back_what_it_took_up(office: Office) -> None:
    world = office.world
    await office.invoiced(small=[Item("0.20")])
    world.period = world.period.next()
    await months.post(world, "small", office.contracts["small"], [Item("5")])
    for _ in range(2):
        await months.start(world)
        assert (await months.invoices(world))["small"].total_minor == 520
        assert await world.count("invoice_carries") == 1
        await reopen_period(
            world.engine("tallybook_invoicer"), world.period, why="forgotten", actor="tests"
        )
        assert await world.count("invoice_carries") == 0


async def test_what_is_carried_of_one_who_left_is_invoiced_by_itself_or_shown(
    office: Office,
) -> None:
    """And what waits for an invoice is one by itself once it has come to the minimum."""
    world = office.world
    own = {"invoice_minimums": "USD=5"}
    world.settings = world.settings.model_copy(update=own)
    first = world.period
    items = {"left": "3", "few": "0.20", "credit": "-7", "stays": "3"}
    await office.invoiced(**{name: [Item(amount)] for name, amount in items.items()})
    for customer in ("left", "few", "credit"):
        await world.end_contract(customer, first.end)

    world.period = first.next()
    assert await _carried(world) == {
        "left": (300, str(first), "next_run"),
        "few": (20, str(first), "below_minimum"),
        "credit": (-700, str(first), "credit"),
        "stays": (300, str(first), "next_invoice"),
    }
    async with world.sessions("tallybook_invoicer") as session:
        seen = preview_document(await preview(session, world.period, world.settings))
    assert [(one["customer"], one["total"]) for one in seen["invoices"]] == [("left", "3.00")]
    left = [(one["customer"], one["amount"]) for one in seen["carried_left"]]
    assert left == [("credit", "-7.00"), ("few", "0.20")]
    found = await office.invoiced()
    assert {name: (one.state, one.total_minor) for name, one in found.items()} == {
        "left": ("finalized", 300)
    }
    assert await office.lines_at_stripe(found["left"]) == [(f"carried forward from {first}", 300)]
    assert (await office.differences())["taken_up"] == ("info", Decimal(-3))
    world.period = first
    amounts: dict[str, list[Decimal]] = {}
    for one in await office.reconciled():
        amounts.setdefault(one.name, []).append(one.amount)
    assert amounts["carried_without_contract"] == [Decimal(-7), Decimal("0.2")]
    assert amounts["carried_forward"] == [Decimal(3), Decimal(3)]

    world.period = first.next().next()
    world.settings = world.settings.model_copy(update={"invoice_minimums": "USD=2"})
    await office.invoiced(few=[], stays=[])
    found = await months.invoices(world)
    assert {name: (one.state, one.total_minor) for name, one in found.items()} == {
        "stays": ("finalized", 300)
    }
    assert set(await _carried(world)) == {"credit", "few"}
    statuses = {one["status"] for one in await office.stripe.invoices()}
    assert (statuses, len(await office.stripe.invoices())) == ({"open"}, 2)


async def test_an_amount_that_is_carried_on_waits_since_its_first_month(office: Office) -> None:
    first = office.world.period
    for _ in range(3):
        await office.invoiced(small=[Item("0.10")])
        office.world.period = office.world.period.next()
    assert await _carried(office.world) == {"small": (30, str(first), "next_invoice")}
    await office.world.start("invoicer")
    headers = {"Authorization": f"Bearer {office.world.finance_key}"}
    url = f"{office.world.settings.invoicer_url}/v1/carried"
    told = (await office.world.http.get(url, headers=headers)).json()
    assert [one["amount"] for one in told["carried"]] == ["0.30"]
    assert told == (await tallybook(office.world, "invoices", "carried", "--json")).document


async def _carried(world: World) -> dict[str, tuple[int, str, str]]:
    """Give by customer what waits, in cents, since when, and what becomes of it."""
    minimums = Minimums.read(world.settings.invoice_minimums)
    async with world.sessions("tallybook_invoicer") as session:
        return {
            one.customer_id: (one.amount_minor, one.since, one.fate(minimums))
            for one in await read_balances(session, at=present())
        }


async def test_an_invoice_of_too_many_lines_is_collapsed_and_its_detail_file_is_kept(
    office: Office,
) -> None:
    office.world.period = office.world.period.next().next()
    items = bands(300)
    invoice = (await office.invoiced(long=[*items, Item("0.004", "x"), Item("0.004", "y")]))["long"]
    assert (invoice.state, invoice.total_minor) == ("finalized", total_minor(items) + 1)
    assert await office.lines_at_stripe(invoice) == [
        ("byok · executions · 302 lines of the detail file (exact 45150.008)", 4515001)
    ]
    differences = await office.differences()
    assert set(differences) == {"rounding"}
    assert differences["rounding"] == ("info", Decimal("-0.002"))

    engine = office.world.engine("tallybook_invoicer")
    async with AsyncSession(engine) as session:
        detail = await read_detail(session, invoice.id)
    assert hashlib.sha256(detail.text.encode()).hexdigest() == invoice.detail_sha256
    rows = list(csv.DictReader(io.StringIO(detail.text)))
    assert [dict(row) for row in rows] == detail.document["rows"]
    assert sum(Decimal(row["exact_amount"]) for row in rows) == Decimal("45150.008")
    (held,) = await office.stripe.invoices("long")
    assert held["metadata"]["detail_sha256"] == invoice.detail_sha256
    assert invoice.detail_sha256 in held["footer"]

    async with office.world.connect() as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("UPDATE line_items SET amount = 1 WHERE band = 'x'")
    async with AsyncSession(engine) as session:
        with pytest.raises(ConflictingStateError, match="not those that were frozen"):
            await read_detail(session, invoice.id)


async def test_the_detail_of_an_ordinary_invoice_is_its_lines(office: Office) -> None:
    await office.invoiced(small=[Item("0.20")])
    office.world.period = office.world.period.next()
    invoice = (await office.invoiced(small=[Item("5"), Item("7", "b")]))["small"]
    async with AsyncSession(office.world.engine("tallybook_invoicer")) as session:
        document = (await read_detail(session, invoice.id)).document
    assert not document["collapsed"]
    found: list[Any] = [(one["line"], one["kind"], one["exact_amount"]) for one in document["rows"]]
    assert found == [("1", "usage", "5"), ("2", "usage", "7"), ("3", "carried_forward", "0.2")]


async def test_purchase_order_and_tax_id_stand_on_the_invoices_that_are_frozen_later(
    office: Office,
) -> None:
    async def held(invoice: Invoice) -> Any:
        path = f"/v1/invoices/{invoice.stripe_invoice_id}"
        return ok(await office.stripe.api.get(path))["custom_fields"]

    first = (await office.invoiced(acme=[Item("5")]))["acme"]
    async with office.world.sessions("tallybook_rater") as session:
        await update_customer(
            session, customer_id="acme", purchase_order="PO-7", tax_id="DE1", actor="tests"
        )
    office.world.period = office.world.period.next()
    second = (await office.invoiced(acme=[Item("5")]))["acme"]
    assert await held(first) is None
    assert await held(second) == second.custom_fields
    assert second.custom_fields == [
        {"name": "Purchase order", "value": "PO-7"},
        {"name": "Tax ID", "value": "DE1"},
    ]


async def test_words_changed_at_stripe_before_finalizing_are_found(office: Office) -> None:
    """The invoice waits for a review, with the words named, and is not finalized."""
    await office.invoiced(acme=[Item("5")])
    async with office.world.sessions("tallybook_rater") as session:
        await update_customer(session, customer_id="acme", purchase_order="PO-7", actor="tests")
    office.world.period = office.world.period.next()
    await months.post(office.world, "acme", office.contracts["acme"], [Item("5")])
    await months.start(office.world)
    invoice = (await months.invoices(office.world))["acme"]
    (twin,) = await office.stripe.customers()
    metadata = {"billing_key": invoice.billing_key, "payload_sha256": invoice.payload_sha256}
    await office.stripe.api.draft(twin["id"], metadata=metadata)
    assert (await months.send(office.world, office.gateway)).state == "failed"
    invoice = (await months.invoices(office.world))["acme"]
    assert invoice.state == "needs_review"
    assert "the custom fields at Stripe is ()" in (invoice.last_error or "")
