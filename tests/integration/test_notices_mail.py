"""A mailbox is an endpoint like any other: the same outbox, the same retries, the same end."""

import pytest
from pydantic import SecretStr

from services.invoicer.notifying.delivery import overview
from services.invoicer.notifying.delivery.pauses import MOST_ATTEMPTS
from services.invoicer.notifying.endpoints import store
from shared.errors import ConflictingStateError, InvalidInputError
from tests.integration.harness.world import World
from tests.services.invoicer.notifying.telling import ACTOR, notice, telling
from tests.services.invoicer.notifying.transport.mail_server import running_mail_server

MAILBOX = "mailto:finance@acme.example"


async def test_a_mailbox_is_told_of_alerts_one_letter_each(world: World) -> None:
    async with (
        running_mail_server() as mail,
        telling(
            world,
            smtp_url=SecretStr(f"smtp://127.0.0.1:{mail.port}"),
            smtp_from="tallybook@acme.example",
        ) as told,
    ):
        endpoint = await told.add(MAILBOX)
        assert endpoint.secret is None
        alerts = [
            notice("acme 80%", type="usage.threshold_reached", subject="acme"),
            notice("shop", type="source.silent", subject="shop", data={"source": "shop"}),
        ]
        await told.put(notice("inv_1"), *alerts)
        for _ in range(2):
            await told.go()
        assert sorted(str(one.message["Subject"]) for one in mail.taken) == [
            "Tallybook: customer acme has reached a threshold: 15.00 USD",
            "Tallybook: source shop is silent",
        ]
        assert {one.message["Message-ID"] for one in mail.taken} == {
            f"<{one.id}@acme.example>" for one in alerts
        }
        assert {one.message["To"] for one in mail.taken} == {"finance@acme.example"}
        async with world.sessions("tallybook_invoicer") as session:
            with pytest.raises(ConflictingStateError, match="nothing is signed"):
                await store.rotate_secret(session, endpoint.id, actor=ACTOR, now=told.clock())


async def test_a_mail_server_that_refuses_is_tried_again_until_the_letter_is_dead(
    world: World,
) -> None:
    async with (
        running_mail_server() as mail,
        telling(world, smtp_url=SecretStr(f"smtp://127.0.0.1:{mail.port}")) as told,
    ):
        endpoint = await told.add(MAILBOX, "invoice.paid")
        await told.put(notice("a"))
        mail.replies = {"RCPT": "451 come back later"}
        for _ in range(MOST_ATTEMPTS):
            await told.go(days=2)
        (one,) = await told.listed()
        assert (one.state, one.attempts) == ("dead", MOST_ATTEMPTS)
        assert one.last_answer == "the mail server refused the mailbox: 451"
        mail.replies = {}
        async with world.sessions("tallybook_invoicer") as session:
            assert await overview.retry_dead(session, endpoint.id, told.clock()) == 1
        await told.go()
        assert await told.states() == ["delivered"]
        assert len(mail.taken) == 1


async def test_without_a_mail_server_no_mailbox_is_added(world: World) -> None:
    async with telling(world) as told:
        with pytest.raises(InvalidInputError, match="TALLYBOOK_SMTP_URL"):
            await told.add(MAILBOX)
