"""Runs the demo: everything is started, set up, sent, rated, invoiced and reconciled.

It uses only what any user has: the HTTP interfaces of the services, and Stripe's.
"""

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from infra.demo.outcome import Outcome, Rated, Row
from infra.demo.scenarios import Scenario, scenarios
from infra.demo.sending import Sent, send
from infra.demo.traffic import loads
from infra.local.installation import Installation
from shared.errors import TallybookError, WrongUseError
from shared.periods import Period
from shared.progress import bar
from shared.settings import Settings

BATCH = 500
_RATE_PATIENCE_SECONDS = 300

_MINIMUMS = "USD=0"
"""However small the scale, every invoice is sent."""


class DemoFailedError(TallybookError):
    """A step of the demo did not work."""

    code = "demo_failed"


class Demo:
    """One run of the demo on a running installation."""

    def __init__(self, settings: Settings, scale: Fraction, report: Path, console: Console) -> None:
        self._settings = settings
        self._period = Period.of(datetime.now(UTC)).previous()
        self._scale = scale
        self._report = report
        self._console = console
        self._scenarios = scenarios(self._period, scale)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and say that it begins."""
        self._console.print(f"{name} …", highlight=False)
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started

    async def run(self) -> Outcome:
        """Go the whole path; what it finds wrong is in the outcome."""
        assert self._settings.finance_key is not None
        headers = {"Authorization": f"Bearer {self._settings.finance_key.get_secret_value()}"}
        async with (
            httpx.AsyncClient(
                base_url=self._settings.rater_url, headers=headers, timeout=60
            ) as rater,
            httpx.AsyncClient(
                base_url=self._settings.invoicer_url, headers=headers, timeout=400
            ) as invoicer,
        ):
            with self.stage("set up plans and customers"):
                await self._set_up(rater)
            begun = time.monotonic()
            with self.stage("send events"):
                sent = await self._send()
            with self.stage("rate the rest"):
                rated = await self._wait_for_rater(rater, sent)
            rating_seconds = time.monotonic() - begun
            with self.stage("close and preview"):
                await _ask(invoicer, "POST", f"/v1/periods/{self._period}/close")
                await _ask(invoicer, "GET", f"/v1/periods/{self._period}/preview")
            with self.stage("invoice"):
                await self._invoice(invoicer)
            with self.stage("reconcile"):
                clean = await self._reconcile(invoicer)
            with self.stage("compare"):
                rows = await self._compare(invoicer)
        return Outcome(
            str(self._period),
            str(float(self._scale)),
            rows,
            sent,
            rated,
            rating_seconds,
            clean,
            self._report,
            self.seconds,
        )

    async def _set_up(self, rater: httpx.AsyncClient) -> None:
        catalogue = files("services.rater.catalogue").joinpath("bizbot.yaml").read_bytes()
        await _ask(
            rater,
            "POST",
            "/v1/catalogue",
            content=catalogue,
            headers={"Content-Type": "application/yaml"},
        )
        for scenario in self._scenarios:
            await self._add_customer(rater, scenario)

    async def _add_customer(self, rater: httpx.AsyncClient, scenario: Scenario) -> None:
        customer = {
            "id": scenario.customer_id,
            "name": f"Demo {scenario.customer_id}",
            "email": f"{scenario.customer_id}@example.com",
        }
        await _ask(rater, "POST", "/v1/customers", json=customer)
        path = f"/v1/customers/{scenario.customer_id}"
        if (await _ask(rater, "GET", path))["contracts"]:
            return  # from an earlier run on the same directory
        first, *others = scenario.stays
        start = {"plan": first.plan, "from": first.starts_at.isoformat()}
        await _ask(rater, "POST", f"{path}/contracts", json={**start, "discount": first.discount})
        for stay in others:
            switch = {"plan": stay.plan, "at": stay.starts_at.isoformat()}
            await _ask(rater, "POST", f"{path}/contracts/switch", json=switch)

    async def _send(self) -> Sent:
        total = sum(one.executions for one in self._scenarios)
        with bar(self._console, "events sent", total) as shown:
            return await send(self._settings, loads(self._scenarios, self._period, BATCH), shown)

    async def _wait_for_rater(self, rater: httpx.AsyncClient, sent: Sent) -> Rated:
        deadline = time.monotonic() + _RATE_PATIENCE_SECONDS
        with bar(self._console, "records rated", sent.accepted) as shown:
            done = 0
            while True:
                progress = await _ask(rater, "GET", "/v1/progress")
                shown.advance(progress["records"] - done)
                done = progress["records"]
                if not progress["behind"]:
                    return Rated(**{name: progress[name] for name in Rated.__slots__})
                if time.monotonic() > deadline:
                    raise DemoFailedError(f"the rater is {progress['behind']} records behind")
                await asyncio.sleep(0.1)

    async def _invoice(self, invoicer: httpx.AsyncClient) -> None:
        run = await _ask(invoicer, "POST", "/v1/runs", json={"period": str(self._period)})
        await _ask(invoicer, "POST", f"/v1/runs/{run['id']}/send")
        with bar(self._console, "invoices sent", len(self._scenarios)) as shown:
            done = 0
            while True:
                run = await _ask(invoicer, "GET", f"/v1/runs/{run['id']}")
                finalized = run["states"].get("finalized", 0)
                shown.advance(finalized - done)
                done = finalized
                if run["state"] != "sending":
                    break
                await asyncio.sleep(0.1)
        if run["state"] != "done":
            raise DemoFailedError(f"the invoice run {run['id']} is {run['state']}: {run['states']}")

    async def _reconcile(self, invoicer: httpx.AsyncClient) -> bool:
        path = f"/v1/periods/{self._period}/reconciliation"
        page = await invoicer.get(path, headers={"Accept": "text/html"})
        _check(page)
        self._report.write_text(page.text, encoding="utf-8")
        return page.headers["Tallybook-Clean"] == "true"

    async def _compare(self, invoicer: httpx.AsyncClient) -> list[Row]:
        document = await _ask(invoicer, "GET", f"/v1/invoices?period={self._period}")
        invoiced, billed = {}, {}
        for one in document["invoices"]:
            whole = await _ask(invoicer, "GET", f"/v1/invoices/{one['id']}")
            customer = whole["customer"]
            invoiced[customer] = _cents(whole["total"])
            billed[customer] = sum(
                int(line["quantity"]) for line in whole["lines"] if line["charge"] == "executions"
            )
        held = await self._held_by_stripe()
        return [
            Row(
                one,
                invoiced.get(one.customer_id),
                # What came to nothing is not sent, and Stripe holds nothing of it.
                held.get(one.customer_id, 0 if invoiced.get(one.customer_id) == 0 else None),
                billed.get(one.customer_id, 0),
            )
            for one in self._scenarios
        ]

    async def _held_by_stripe(self) -> dict[str, int]:
        """Ask Stripe itself, by its own interface, what its finalized invoices come to."""
        base = self._settings.stripe_api_base or "https://api.stripe.com"
        key = self._settings.stripe_api_key.get_secret_value()
        held: dict[str, int] = {}
        params: dict[str, Any] = {"limit": 100}
        async with httpx.AsyncClient(
            base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=60
        ) as stripe:
            while True:
                page = await _ask(stripe, "GET", "/v1/invoices", params=params)
                for invoice in page["data"]:
                    facts = invoice["metadata"] or {}
                    ours = facts.get("period") == str(self._period)
                    if ours and invoice["status"] in ("open", "paid"):
                        customer = facts["tallybook_customer"]
                        held[customer] = held.get(customer, 0) + invoice["total"]
                if not page["has_more"]:
                    return held
                params["starting_after"] = page["data"][-1]["id"]


async def run_demo(
    scale: Fraction, directory: Path | None, report: Path | None, console: Console
) -> Outcome:
    """Start everything, run the demo, stop everything."""
    period = Period.of(datetime.now(UTC)).previous()
    page = report or Path(f"tallybook-report-{period}.html")
    started = time.monotonic()
    async with _kept(directory, console) as place:
        _note_scale(place, scale, period)

        def say(text: str) -> None:
            console.print(f"  {text}", highlight=False)

        console.print("start everything …")
        async with Installation(place, minimums=_MINIMUMS, on_progress=say) as installation:
            starting = time.monotonic() - started
            demo = Demo(installation.settings, scale, page, console)
            demo.seconds["start everything"] = starting
            outcome = await demo.run()
        demo.seconds["in all"] = time.monotonic() - started
    return outcome


@asynccontextmanager
async def _kept(directory: Path | None, console: Console) -> AsyncIterator[Path]:
    """Give a directory; one of our own making is removed, unless the demo failed."""
    if directory is not None:
        yield directory
        return
    made = Path(tempfile.mkdtemp(prefix="tallybook-demo-"))
    try:
        yield made
    except TallybookError:
        console.print(f"the state and the logs are kept in {made}", highlight=False)
        raise
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    await asyncio.to_thread(shutil.rmtree, made, ignore_errors=True)


def _note_scale(directory: Path, scale: Fraction, period: Period) -> None:
    """Keep what a directory's demo was; another one on it could not come out right."""
    directory.mkdir(parents=True, exist_ok=True)
    note = directory / "demo.json"
    wanted = {"scale": str(scale), "period": str(period)}
    if note.exists() and (kept := json.loads(note.read_text(encoding="utf-8"))) != wanted:
        raise WrongUseError(
            f"{directory} holds a demo of {kept['period']} at scale {kept['scale']}; repeat that"
            " one, or choose another --data"
        )
    note.write_text(json.dumps(wanted), encoding="utf-8")


async def _ask(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> Any:
    answer = await client.request(method, path, **more)
    _check(answer)
    return answer.json()


def _check(answer: httpx.Response) -> None:
    if not answer.is_success:
        detail = answer.text[:500]
        request = answer.request
        raise DemoFailedError(f"{request.method} {request.url.path}: {answer.status_code} {detail}")


def _cents(dollars: str) -> int:
    return int(Fraction(dollars) * 100)
