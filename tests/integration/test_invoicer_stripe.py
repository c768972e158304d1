"""What the invoicer does about what it finds at Stripe, and about how Stripe answers (I8, I9)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from pydantic import SecretStr
from starlette.responses import JSONResponse, Response

from services.invoicer import steering
from services.invoicer.patience import Patience
from services.invoicer.runs import get_run
from services.invoicer.sending import Sender
from services.invoicer.stripe_gateway import StripeGateway
from shared.database import open_engine
from shared.errors import ConflictingStateError
from shared.tables.invoicer import InvoiceRun
from tests.infra.stripe_sandbox.checked import lines_of, ok
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.postings import Item, bands
from tests.services.invoicer.proxy import Call, LostError, Proxy, give_back, running_proxy
from tests.services.invoicer.stripe_side import StripeSide, stripe_side

HURRIED = Patience(attempts=4, first_delay=0.01, longest_delay=0.02)
ITEMS = [Item("10"), Item("5", "other")]


@dataclass
class Bench:
    """A world, its Stripe, and a gateway that goes by way of the proxy."""

    world: World
    stripe: StripeSide
    proxy: Proxy
    gateway: StripeGateway

    async def send(self, workers: int = 8) -> str:
        """Send the run; gives its state."""
        run = await months.send(self.world, self.gateway, patience=HURRIED, workers=workers)
        return run.state

    async def run(self) -> InvoiceRun:
        """Give the run."""
        async with self.world.sessions("tallybook_invoicer") as session:
            return await get_run(session, f"run_{self.world.period}")

    async def frozen(self, **customers: list[Item]) -> None:
        """Freeze the invoices of customers with these line items."""
        await months.fill_month(self.world, customers)
        await months.start(self.world)

    async def state(self, customer: str = "acme") -> tuple[str, str]:
        """Give the state of a customer's invoice, and its last error."""
        found = (await months.invoices(self.world))[customer]
        return found.state, found.last_error or ""

    async def held(self, customer: str = "acme") -> list[tuple[str, int]]:
        """Give status and total of a customer's invoices at Stripe."""
        return [(one["status"], one["total"]) for one in await self.stripe.invoices(customer)]

    async def draft_of_ours(self, amount: int | None = None) -> str:
        """Make the draft at Stripe that an earlier, unanswered call would have made."""
        invoice = (await months.invoices(self.world))["acme"]
        twin = (await self.stripe.customers())[0]["id"]
        metadata = {
            "billing_key": invoice.billing_key,
            "payload_sha256": invoice.payload_sha256,
            "period": invoice.period,
            "tallybook_customer": "acme",
        }
        made = await self.stripe.api.draft(twin, metadata=metadata)
        if amount is not None:
            path = f"/v1/invoices/{made['id']}/add_lines"
            ok(await self.stripe.api.post(path, lines_of(amount)))
        return str(made["id"])

    async def known_customer(self) -> None:
        """Have the customer acme at Stripe, as after an earlier month."""
        twin = await self.stripe.api.customer(
            name="Customer acme",
            email="acme@example.com",
            metadata={"tallybook_customer": "acme"},
        )
        assert twin["metadata"] == {"tallybook_customer": "acme"}


@pytest.fixture
async def bench(world: World) -> AsyncIterator[Bench]:
    await world.apply_catalogue()
    process = await world.start_stripe()
    async with (
        stripe_side(process.url, world.directory / "stripe.sqlite3") as stripe,
        running_proxy(process.url) as proxy,
        StripeGateway(world.settings.model_copy(update={"stripe_api_base": proxy.url})) as gateway,
    ):
        yield Bench(world, stripe, proxy, gateway)


def _answer(status: int, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    error = {"error": {"type": "api_error", "message": "as the test wills"}}
    return JSONResponse(error, status, named)


async def test_a_run_sent_again_makes_nothing_twice(bench: Bench) -> None:
    await bench.frozen(acme=ITEMS, bob=bands(12))
    assert await bench.send() == "done"
    before = await bench.stripe.counts()
    requests = len(bench.proxy.calls)
    assert await bench.send() == "done"
    assert await bench.stripe.counts() == before
    assert len(bench.proxy.calls) == requests
    assert await bench.held() == [("open", 1500)]


async def test_senders_at_once_make_each_invoice_once(bench: Bench) -> None:
    """Three senders, as in three processes, with more workers than there are customers."""
    customers = {f"customer-{number:02d}": bands(3) for number in range(20)}
    await bench.frozen(**customers)
    engines = [open_engine(bench.world.settings, "tallybook_invoicer") for _ in range(3)]
    run_id = f"run_{bench.world.period}"
    await steering.begin(engines[0], run_id, approval_by="nobody", actor="tests")
    senders = [Sender(engine, bench.gateway, workers=24, patience=HURRIED) for engine in engines]
    runs = await asyncio.gather(*(sender.send(run_id) for sender in senders))
    for engine in engines:
        await engine.dispose()
    assert [run.state for run in runs] == ["done"] * 3
    assert await bench.stripe.counts() == {
        "customer": {"active": 20},
        "invoice": {"open": 20},
        "line_item": {"total": 60},
    }
    created = [call for call in bench.proxy.calls if call.name == "POST invoices"]
    assert len(created) == 20


async def test_a_customer_with_two_currencies_has_an_invoice_in_each(bench: Bench) -> None:
    await bench.frozen(acme=[Item("10"), Item("7", currency="EUR")])
    assert await bench.send() == "done"
    held = await bench.stripe.invoices("acme")
    assert {(one["currency"], one["total"]) for one in held} == {("usd", 1000), ("eur", 700)}
    assert (await bench.stripe.counts())["customer"] == {"active": 1}


async def test_a_bad_customer_stops_nobody_else(bench: Bench) -> None:
    await months.fill_month(bench.world, {"acme": ITEMS, "bad": ITEMS, "cyd": ITEMS})
    await bench.world.fetch("UPDATE customers SET name = repeat('x', 300) WHERE id = 'bad'")
    await months.start(bench.world)
    assert await bench.send() == "failed"
    state, error = await bench.state("bad")
    assert state == "needs_review"
    assert "256 characters" in error
    for customer in ("acme", "cyd"):
        assert await bench.state(customer) == ("finalized", "")

    await bench.world.fetch("UPDATE customers SET name = 'Bad' WHERE id = 'bad'")
    assert await bench.send() == "done"
    assert await bench.held("bad") == [("open", 1500)]


async def test_what_is_not_to_be_sent_is_not(bench: Bench) -> None:
    await bench.frozen(acme=ITEMS, nothing=[Item("0")], credit=[Item("-3")], small=[Item("0.49")])
    assert await bench.send() == "done"
    found = await months.invoices(bench.world)
    assert {customer: (one.state, one.note) for customer, one in found.items()} == {
        "acme": ("finalized", None),
        "nothing": ("skipped_zero", "nothing is due"),
        "credit": ("carried_forward", "the total is a credit: the next invoice takes it up"),
        "small": (
            "carried_forward",
            "the total is below 0.50 USD: the next invoice takes it up",
        ),
    }
    assert (await bench.stripe.counts())["invoice"] == {"open": 1}


async def test_an_invoice_of_the_most_lines_goes_in_three_calls(bench: Bench) -> None:
    await bench.frozen(acme=bands(250))
    assert await bench.send() == "done"
    calls = [call.name for call in bench.proxy.calls]
    assert calls.count("POST invoices/add_lines") == 3
    assert await bench.held() == [("open", 250 * 251 // 2 * 100)]


# what is found at Stripe ------------------------------------------------------------------


async def test_a_draft_changed_before_it_is_read_back_is_not_finalized(bench: Bench) -> None:
    await bench.frozen(acme=ITEMS)

    async def tamper(call: Call) -> None:
        if call.name == "GET invoices" and call.path.startswith("/v1/invoices/"):
            invoice = call.path.rpartition("/")[2]
            bench.stripe.change_lines(invoice, amount=1)

    bench.proxy.before = tamper
    assert await bench.send() == "failed"
    state, error = await bench.state()
    assert state == "needs_review"
    assert "the amount of line 1 at Stripe is 1, ours is 1000" in error
    assert await bench.held() == [("draft", 1500)]
    audited = await bench.world.fetch("SELECT act FROM audit_entries WHERE act LIKE 'invoice.%'")
    assert [row["act"] for row in audited] == ["invoice.needs_review"]


async def test_once_a_person_has_deleted_a_wrong_draft_the_invoice_is_made_anew(
    bench: Bench,
) -> None:
    await bench.frozen(acme=ITEMS)

    async def tamper(call: Call) -> None:
        if call.name == "GET invoices" and call.path.startswith("/v1/invoices/"):
            bench.stripe.change(call.path.rpartition("/")[2], total=7)

    bench.proxy.before = tamper
    assert await bench.send() == "failed"
    (wrong,) = await bench.stripe.invoices("acme")
    await bench.stripe.delete_draft(wrong["id"])

    async def leave_alone(_call: Call) -> None:
        return None

    bench.proxy.before = leave_alone
    assert await bench.send() == "done"
    assert await bench.held() == [("open", 1500)]


async def test_a_draft_that_an_unanswered_call_left_is_adopted_and_surplus_ones_deleted(
    bench: Bench,
) -> None:
    await bench.frozen(acme=ITEMS)
    await bench.known_customer()
    oldest = await bench.draft_of_ours()
    for _ in range(2):
        await bench.draft_of_ours(amount=50)
    assert await bench.send() == "done"
    (held,) = await bench.stripe.invoices("acme")
    assert (held["id"], held["status"], held["total"]) == (oldest, "open", 1500)
    assert "POST invoices" not in [call.name for call in bench.proxy.calls]


async def test_invoices_that_are_not_ours_are_left_alone(bench: Bench) -> None:
    await bench.frozen(acme=ITEMS)
    await bench.known_customer()
    twin = (await bench.stripe.customers())[0]["id"]
    foreign = await bench.stripe.api.draft(twin)
    other_key = await bench.stripe.api.draft(twin, metadata={"billing_key": "acme:other"})
    assert await bench.send() == "done"
    left = {one["id"]: one["status"] for one in await bench.stripe.invoices()}
    assert left[foreign["id"]] == left[other_key["id"]] == "draft"
    assert len(left) == 3


async def test_a_finalized_invoice_of_ours_that_is_not_equal_is_for_a_person(bench: Bench) -> None:
    await bench.frozen(acme=ITEMS)
    await bench.known_customer()
    wrong = await bench.draft_of_ours(amount=50)
    ok(await bench.stripe.api.post(f"/v1/invoices/{wrong}/finalize"))
    before = await bench.stripe.counts()
    assert await bench.send() == "failed"
    state, error = await bench.state()
    assert state == "needs_review"
    assert "the total at Stripe is 50, ours is 1500" in error
    assert await bench.stripe.counts() == before


async def test_two_finalized_invoices_of_one_key_are_for_a_person(bench: Bench) -> None:
    await bench.frozen(acme=ITEMS)
    await bench.known_customer()
    for _ in range(2):
        one = await bench.draft_of_ours(amount=50)
        ok(await bench.stripe.api.post(f"/v1/invoices/{one}/finalize"))
    assert await bench.send() == "failed"
    state, error = await bench.state()
    assert state == "needs_review"
    assert "more than one finalized invoice" in error


async def test_books_that_forgot_what_they_sent_find_it_again(bench: Bench) -> None:
    """As after the restore of an old backup: no ids, no intents, and Stripe forgot the keys."""
    await bench.frozen(acme=ITEMS)
    assert await bench.send() == "done"
    for statement in (
        "DELETE FROM stripe_intents",
        "DELETE FROM stripe_customers",
        "UPDATE invoices SET stripe_invoice_id = NULL, state = 'frozen'",
        "UPDATE invoice_runs SET state = 'sending'",
    ):
        await bench.world.fetch(statement)
    bench.stripe.forget_keys()
    before = await bench.stripe.counts()
    assert await bench.send() == "done"
    assert await bench.stripe.counts() == before
    assert await bench.state() == ("finalized", "")


async def test_an_invoice_that_was_voided_at_stripe_is_for_a_person(bench: Bench) -> None:
    await bench.frozen(acme=ITEMS)
    assert await bench.send() == "done"
    (held,) = await bench.stripe.invoices("acme")
    ok(await bench.stripe.api.post(f"/v1/invoices/{held['id']}/void"))
    await bench.world.fetch("UPDATE invoices SET state = 'verified'")
    await bench.world.fetch("UPDATE invoice_runs SET state = 'sending'")
    assert await bench.send() == "failed"
    state, error = await bench.state()
    assert state == "needs_review"
    assert "is void at Stripe" in error
    assert len(await bench.held()) == 1


# how Stripe answers -----------------------------------------------------------------------


CHANGES = ["POST customers", "POST invoices", "POST invoices/add_lines", "POST invoices/finalize"]


@pytest.mark.parametrize("name", CHANGES)
async def test_a_lost_answer_is_asked_for_again_and_nothing_is_made_twice(
    bench: Bench, name: str
) -> None:
    await bench.frozen(acme=ITEMS)
    lost = [2]

    async def lose(call: Call, answer: Response) -> Response:
        if call.name == name and lost[0]:
            lost[0] -= 1
            raise LostError
        return answer

    bench.proxy.after = lose
    assert await bench.send() == "done"
    assert lost == [0]
    assert await bench.held() == [("open", 1500)]
    assert (await bench.stripe.counts())["customer"] == {"active": 1}


async def test_too_many_requests_are_waited_for(bench: Bench) -> None:
    await bench.frozen(acme=ITEMS)
    refused: dict[str, int] = {}

    async def busy(call: Call) -> Response | None:
        refused[call.name] = refused.get(call.name, 0) + 1
        return _answer(429, retry_after="0") if refused[call.name] <= 2 else None

    bench.proxy.before = busy
    assert await bench.send() == "done"
    assert await bench.held() == [("open", 1500)]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        *((name, 500) for name in ("GET customers", *CHANGES, "GET invoices")),
        ("POST invoices", 429),
        ("POST invoices", 503),
    ],
)
async def test_while_stripe_cannot_the_invoice_waits_and_is_sent_later(
    bench: Bench, name: str, status: int
) -> None:
    await bench.frozen(acme=ITEMS)
    failing = [True]

    async def fail(call: Call) -> Response | None:
        return _answer(status) if failing[0] and call.name == name else None

    bench.proxy.before = fail
    assert await bench.send() == "failed"
    state, error = await bench.state()
    assert (state, f"({status})" in error) == ("failed_retryable", True)
    failing[0] = False
    assert await bench.send() == "done"
    assert await bench.held() == [("open", 1500)]


@pytest.mark.parametrize("name", CHANGES)
async def test_an_error_after_the_effect_that_stripe_repeats_for_its_key(
    bench: Bench, name: str
) -> None:
    """Stripe keeps a 500 for its idempotency key too: only reading shows what was done."""
    await bench.frozen(acme=ITEMS)
    cursed: set[str | None] = set()

    async def repeat(call: Call) -> Response | None:
        return _answer(500) if call.key in cursed and call.key else None

    async def curse(call: Call, answer: Response) -> Response:
        if call.name == name and not cursed:
            cursed.add(call.key)
            return _answer(500)
        return answer

    bench.proxy.before, bench.proxy.after = repeat, curse
    assert await bench.send() == "failed"
    assert (await bench.state())[0] == "failed_retryable"
    assert await bench.send() == "done"
    assert await bench.held() == [("open", 1500)]
    assert (await bench.stripe.counts())["customer"] == {"active": 1}


async def test_an_error_without_an_effect_that_stripe_repeats_for_its_key(bench: Bench) -> None:
    await bench.frozen(acme=ITEMS)
    cursed: set[str | None] = set()

    async def curse(call: Call) -> Response | None:
        if call.name == "POST invoices" and not cursed:
            cursed.add(call.key)
        return _answer(500) if call.key in cursed and call.key else None

    bench.proxy.before = curse
    assert await bench.send() == "failed"
    assert await bench.send() == "done"
    keys = [call.key for call in bench.proxy.calls if call.name == "POST invoices"]
    assert len(set(keys)) == 2
    assert await bench.held() == [("open", 1500)]


async def test_a_refused_api_key_pauses_the_run_at_once_and_shows_no_secret(bench: Bench) -> None:
    await bench.frozen(**{f"customer-{number:02d}": ITEMS for number in range(20)})
    secret = SecretStr("sk_live_never_shown")
    settings = bench.world.settings.model_copy(update={"stripe_api_key": secret})
    async with StripeGateway(settings) as gateway:
        run = await months.send(bench.world, gateway)
    assert run.state == "paused"
    assert "TALLYBOOK_STRIPE_API_KEY" in (run.paused_because or "")
    assert "never_shown" not in (run.paused_because or "")
    found = await months.invoices(bench.world)
    assert {(one.state, one.attempts) for one in found.values()} == {("frozen", 0)}
    assert await bench.send() == "done"


async def test_stripe_that_knows_another_api_version_pauses_the_run(bench: Bench) -> None:
    await bench.frozen(acme=ITEMS)

    async def refuse(_call: Call) -> Response:
        message = "Invalid Stripe API version: 2026-08-26.dahlia"
        error = {"type": "invalid_request_error", "message": message}
        return JSONResponse({"error": error}, 400)

    bench.proxy.before = refuse
    assert await bench.send() == "paused"
    assert await bench.state() == ("frozen", "")
    assert "does not know version" in ((await bench.run()).paused_because or "")


async def test_a_paused_run_begins_no_further_customer_until_it_is_resumed(bench: Bench) -> None:
    engine = bench.world.engine("tallybook_invoicer")
    run_id = f"run_{bench.world.period}"
    count = 20
    await bench.frozen(**{f"customer-{number:02d}": ITEMS for number in range(count)})

    async def pull_the_plug(call: Call, answer: Response) -> Response:
        if call.name == "POST invoices/finalize":
            await steering.pause(engine, run_id, why="finance said so", actor="ada")
        return answer

    bench.proxy.after = pull_the_plug
    assert await bench.send(workers=2) == "paused"
    finalized = (await bench.stripe.counts())["invoice"]["open"]
    assert 1 <= finalized <= 2
    with pytest.raises(ConflictingStateError, match="is paused: finance said so"):
        await steering.begin(engine, run_id, approval_by="nobody", actor="ada")

    bench.proxy.after = give_back
    assert await bench.send() == "done"
    assert (await bench.stripe.counts())["invoice"] == {"open": count}
    acts = await bench.world.fetch("SELECT act FROM audit_entries WHERE subject = $1", run_id)
    assert [row["act"] for row in acts if row["act"] != "run.start"] == [
        "run.send",
        "run.pause",
        "run.resume",
    ]


async def test_lines_that_were_changed_in_the_books_are_not_sent(bench: Bench) -> None:
    """What is sent is what was frozen, and so what was approved."""
    await bench.frozen(acme=ITEMS, bob=ITEMS)
    await bench.world.fetch(
        "UPDATE invoice_lines SET amount_minor = amount_minor + 1 WHERE position = 1"
        " AND invoice_id = (SELECT id FROM invoices WHERE customer_id = 'acme')"
    )
    assert await bench.send() == "failed"
    state, error = await bench.state()
    assert (state, "not those that were frozen" in error) == ("needs_review", True)
    assert await bench.stripe.counts() == {
        "customer": {"active": 1},
        "invoice": {"open": 1},
        "line_item": {"total": len(ITEMS)},
    }


async def test_an_ordinary_invoice_takes_five_calls(bench: Bench) -> None:
    """Of a customer whom Stripe knows; a new one is looked for and made, two calls more."""
    await bench.known_customer()
    await bench.frozen(acme=ITEMS)
    assert await bench.send() == "done"
    names = [call.name for call in bench.proxy.calls]
    assert names[0] == "GET customers", "only until the books know the twin"
    assert names[1:] == [
        "GET invoices",
        "POST invoices",
        "POST invoices/add_lines",
        "GET invoices",
        "POST invoices/finalize",
    ]
