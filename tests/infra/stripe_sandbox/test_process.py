"""The sandbox as a process: what it answered outlives kill -9, and SIGTERM stops it cleanly."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

_HEADERS = {
    "Authorization": "Bearer sk_test_process",
    "Content-Type": "application/x-www-form-urlencoded",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_sandbox(data: Path) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    port = free_port()
    command = [sys.executable, "-m", "infra.stripe_sandbox", "--port", str(port)]
    process = subprocess.Popen([*command, "--data", str(data)])
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=_HEADERS) as http:
            _wait(http)
            yield process, http
    finally:
        process.kill()
        process.wait()


def _wait(http: httpx.Client) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if http.get("/health/ready").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.02)
    raise TimeoutError("the sandbox does not answer")


def test_what_was_answered_outlives_kill_9(tmp_path: Path) -> None:
    data = tmp_path / "stripe.sqlite3"
    with running_sandbox(data) as (process, http):
        customer = http.post("/v1/customers", content="name=Ada").json()["id"]
        made = http.post("/v1/invoices", content=f"customer={customer}&currency=usd").json()["id"]
        lines = "&".join(f"lines[{index}][amount]={index}" for index in range(30))
        key = {"Idempotency-Key": "lines-1"}
        added = http.post(f"/v1/invoices/{made}/add_lines", content=lines, headers=key)
        assert added.json()["total"] == 435
        process.send_signal(signal.SIGKILL)
        process.wait()
    with running_sandbox(data) as (process, http):
        again = http.post(f"/v1/invoices/{made}/add_lines", content=lines, headers=key)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.content == added.content
        page = http.get(f"/v1/invoices/{made}/lines?limit=100").json()
        assert [line["amount"] for line in page["data"]] == list(range(30))
        final = http.post(f"/v1/invoices/{made}/finalize").json()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) in (0, -signal.SIGTERM)
        assert not data.with_name(data.name + "-wal").exists()
    with running_sandbox(data) as (_, http):
        assert http.get(f"/v1/invoices/{made}").json() == final
        assert final["status"] == "open"
