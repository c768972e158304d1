"""Events reach webhook endpoints signed as Stripe signs them, also after failures and a restart."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from tests.infra.stripe_sandbox.test_process import running_sandbox

SECONDS = 20


class Receiver:
    """Takes deliveries; fails the first `failures` of them."""

    def __init__(self, port: int = 0, failures: int = 0) -> None:
        self.taken: list[tuple[bytes, str]] = []
        self.failed = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                failing = receiver.failed < failures
                if failing:
                    receiver.failed += 1
                else:
                    receiver.taken.append((body, self.headers["Stripe-Signature"]))
                self.send_response(500 if failing else 200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port

    @contextmanager
    def serving(self) -> Iterator["Receiver"]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for body, _ in self.taken]

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + SECONDS
        while len(self.taken) < count:
            assert time.monotonic() < deadline, self.types()
            time.sleep(0.02)


def _endpoint(http: httpx.Client, port: int, *types: str) -> str:
    events = "&".join(f"enabled_events[{n}]={one}" for n, one in enumerate(types))
    made = http.post(
        "/v1/webhook_endpoints", content=f"url=http://127.0.0.1:{port}/hook&{events}"
    ).json()
    secret: str = made["secret"]
    return secret


def test_deliveries_are_signed_and_only_what_was_asked_for(tmp_path: Path) -> None:
    with (
        running_sandbox(tmp_path / "stripe.sqlite3") as (_, http),
        Receiver().serving() as receiver,
    ):
        secret = _endpoint(http, receiver.port, "customer.created")
        everything = _endpoint(http, receiver.port, "*")
        customer = http.post("/v1/customers", content="name=Ada").json()["id"]
        http.post(f"/v1/customers/{customer}", content="name=Bea")
        receiver.wait_for(3)
        assert sorted(receiver.types()) == [
            "customer.created",
            "customer.created",
            "customer.updated",
        ]
        good = 0
        for body, signature in receiver.taken:
            for one in (secret, everything):
                try:
                    event = stripe.Webhook.construct_event(body, signature, one)
                except stripe.SignatureVerificationError:
                    continue
                good += 1
                assert event["data"]["object"]["id"] == customer
        assert good == 3


def test_what_was_not_taken_comes_again_also_after_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "stripe.sqlite3"
    with Receiver(failures=1).serving() as receiver:
        with running_sandbox(data) as (process, http):
            _endpoint(http, receiver.port, "customer.created")
            http.post("/v1/customers", content="name=Ada")
            deadline = time.monotonic() + SECONDS
            while not receiver.failed:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.kill()
        with running_sandbox(data):
            receiver.wait_for(1)
    assert receiver.types() == ["customer.created"]


@pytest.mark.parametrize("days", [31])
def test_time_that_passes_makes_invoices_overdue_once(tmp_path: Path, days: int) -> None:
    with running_sandbox(tmp_path / "stripe.sqlite3") as (_, http):
        customer = http.post("/v1/customers", content="name=Ada").json()["id"]
        terms = "collection_method=send_invoice&days_until_due=30&currency=usd"
        made = http.post("/v1/invoices", content=f"customer={customer}&{terms}").json()["id"]
        http.post(f"/v1/invoices/{made}/add_lines", content="lines[0][amount]=5")
        http.post(f"/v1/invoices/{made}/finalize")
        for _ in range(2):
            http.post("/_sandbox/clock", content=json.dumps({"seconds": days * 86_400}))
        found = http.get("/v1/events", params={"type": "invoice.overdue"}).json()["data"]
        assert [one["data"]["object"]["id"] for one in found] == [made]
