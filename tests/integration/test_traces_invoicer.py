"""Each invoice that the invoicer sends is a trace of its own, with its calls to Stripe."""

import asyncio
from collections import Counter

import httpx

from tests.integration.harness.collector import running_collector
from tests.integration.harness.commands import tallybook
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.postings import Item


async def test_an_invoice_is_a_trace_with_its_calls_to_stripe(world: World) -> None:
    await world.apply_catalogue()
    await months.fill_month(world, {"ada-secret": [Item("10")], "bob-secret": [Item("20")]})
    with running_collector() as collector:
        world.variables = collector.variables
        await world.start("invoicer")
        headers = {"Authorization": f"Bearer {world.finance_key}"}
        url = f"{world.settings.invoicer_url}/v1"
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as http:
            run = (await http.post("/runs", json={"period": str(world.period)})).json()["id"]
            assert (await http.post(f"/runs/{run}/send")).status_code == 202
            async with asyncio.timeout(60):
                while len(collector.find("invoicer", "send invoice")) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        request = await collector.received("invoicer", "POST /v1/runs/{run_id}/send")
        invoices = collector.find("invoicer", "send invoice")
        rows = await world.fetch("SELECT id, state FROM invoices")
        assert {row["id"]: row["state"] for row in rows} == {
            one.attributes["tallybook.invoice.id"]: one.attributes["tallybook.invoice.state"]
            for one in invoices
        }
        for one in invoices:
            assert (one.parent, one.attributes["tallybook.run.id"]) == ("", run)
            assert one.trace != request.trace
            calls = collector.find("invoicer", "call Stripe", trace=one.trace, parent=one.id)
            assert {call.kind for call in calls} == {"client"}
            steps = Counter(call.attributes["tallybook.step"] for call in calls)
            assert steps.keys() == {"create", "lines 1 to 1", "finalize", "read"}
        shown = [text for span in collector.spans for text in span.texts]
        assert not [text for text in shown if "secret" in text or "sk_test" in text]


async def test_what_a_command_sends_is_traced_too(world: World) -> None:
    await world.apply_catalogue()
    await world.start_stripe()
    await months.fill_month(world, {"ada": [Item("10")]})
    with running_collector() as collector:
        arguments = ("runs", "start", str(world.period), "--send", "--json")
        sent = await tallybook(world, *arguments, **collector.variables)
        assert sent.status == 0, sent.err
        # The command has handed over its last spans when it ends.
        (invoice,) = collector.find("invoicer", "send invoice")
        assert invoice.attributes["tallybook.invoice.state"] == "finalized"
        assert collector.find("invoicer", "call Stripe", trace=invoice.trace, parent=invoice.id)
