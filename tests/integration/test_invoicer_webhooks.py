"""Stripe's messages come in by HTTP: only signed ones are taken, each is stored once."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from services.invoicer.following.webhooks import MOST_BYTES
from tests.integration.conftest import OpenWorld
from tests.integration.harness.waiting import until
from tests.services.invoicer.following.messages import body_of, event, signed
from tests.services.invoicer.sent import ITEMS, SentMonth, sent_month

SECRET = "whsec_of_the_tests"


@pytest.fixture(scope="module")
async def month(new_world: OpenWorld) -> AsyncIterator[SentMonth]:
    async with new_world() as world, sent_month(world, acme=ITEMS) as made:
        await world.start(
            "invoicer",
            stripe_webhook_secret=SecretStr(SECRET),
            stripe_catch_up_seconds=3600.0,
        )
        yield made


async def _send(
    month: SentMonth, body: bytes, *, secret: str = SECRET, late: int = 0
) -> httpx.Response:
    header = signed(body, secret, int(time.time()) - late)
    return await _post(month, body, {"Stripe-Signature": header})


async def _post(month: SentMonth, body: bytes, headers: dict[str, str]) -> httpx.Response:
    url = f"{month.world.settings.invoicer_url}/v1/stripe/webhooks"
    return await month.world.http.post(url, content=body, headers=headers)


async def _message(month: SentMonth, kind: str, event_id: str, **more: Any) -> bytes:
    invoice = await month.invoice()
    about = {
        "id": invoice.stripe_invoice_id,
        "object": "invoice",
        "metadata": {"billing_key": invoice.billing_key},
    }
    return body_of(event(kind, about, event_id, created=int(time.time()), **more))


async def test_what_is_not_stripes_is_refused_and_leaves_nothing(month: SentMonth) -> None:
    body = await _message(month, "invoice.paid", "evt_bad")
    before = await month.world.count("stripe_events")
    answers = {
        "no signature": await _post(month, body, {}),
        "another secret": await _send(month, body, secret="whsec_other"),
        "too old": await _send(month, body, late=400),
        "of the future": await _send(month, body, late=-400),
        "no event": await _send(month, b'{"id": 7}'),
        "another version": await _send(
            month, await _message(month, "invoice.paid", "evt_v", api_version="2020-08-27")
        ),
    }
    for what, answer in answers.items():
        assert answer.status_code == 400, what
        assert answer.headers["content-type"] == "application/problem+json"
        assert SECRET not in answer.text
    assert "2020-08-27" in answers["another version"].json()["detail"]
    assert (await _send(month, b" " * (MOST_BYTES + 1))).status_code == 413
    assert await month.world.count("stripe_events") == before


async def test_without_a_secret_no_message_is_taken(month: SentMonth) -> None:
    process = await month.world.start("invoicer", stripe_webhook_secret=SecretStr(""))
    body = await _message(month, "invoice.paid", "evt_too_early")
    header = signed(body, "", int(time.time()))
    answer = await month.world.http.post(
        f"{process.url}/v1/stripe/webhooks", content=body, headers={"Stripe-Signature": header}
    )
    assert answer.status_code == 404
    assert "TALLYBOOK_STRIPE_WEBHOOK_SECRET" in answer.json()["detail"]
    await process.stop()


async def test_a_message_is_stored_once_and_the_invoice_follows(month: SentMonth) -> None:
    await month.at_stripe("acme", "mark_uncollectible")
    body = await _message(month, "invoice.marked_uncollectible", "evt_lost")
    answers = await asyncio.gather(*(_send(month, body) for _ in range(5)))
    assert {one.status_code for one in answers} == {204}
    await _until_state(month, "uncollectible")
    rows = await month.world.fetch("SELECT * FROM stripe_events WHERE id = 'evt_lost'")
    assert len(rows) == 1

    await month.at_stripe("acme", "pay", paid_out_of_band=True)
    assert (await _send(month, await _message(month, "invoice.paid", "evt_paid"))).is_success
    await _until_state(month, "paid")
    assert (await _send(month, body)).is_success
    acts = await month.acts((await month.invoice()).id)
    assert acts[-2:] == ["invoice.uncollectible stripe", "invoice.paid stripe"]


async def test_what_is_about_nothing_of_ours_is_taken_and_changes_nothing(
    month: SentMonth,
) -> None:
    before = await month.states()
    foreign: list[dict[str, Any]] = [
        {"id": "in_foreign", "object": "invoice", "metadata": {}},
        {"id": "cus_1", "object": "customer"},
        {"id": "cn_1", "object": "credit_note", "invoice": "in_foreign"},
    ]
    for number, about in enumerate(foreign):
        body = body_of(event("invoice.paid", about, f"evt_foreign_{number}"))
        assert (await _send(month, body)).status_code == 204
    assert await month.states() == before


async def test_nothing_is_said_to_be_taken_that_is_not_stored(month: SentMonth) -> None:
    body = await _message(month, "invoice.paid", "evt_not_stored")
    async with month.world.connect() as connection, connection.transaction():
        await connection.execute("LOCK TABLE stripe_events IN ACCESS EXCLUSIVE MODE")
        sending = asyncio.create_task(_send(month, body))
        waiting = (
            "SELECT count(*) FROM pg_locks"
            " WHERE NOT granted AND relation = 'stripe_events'::regclass"
        )

        async def is_waiting() -> bool:
            return bool(await connection.fetchval(waiting))

        await until(is_waiting, seconds=30)
        assert not sending.done()
    assert (await sending).status_code == 204


async def _until_state(month: SentMonth, state: str) -> None:
    async def has_it() -> bool:
        return await month.states() == [state]

    await until(has_it)
