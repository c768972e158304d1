"""A small real HTTP server that answers as ingest does, or as a test tells it to. I/O: a port."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], Any]
Decide = Callable[[list[Any]], Reply | None]


@dataclass
class Ingest:
    """What came, and what is answered: `decide` gives None to drop the connection."""

    url: str
    decide: Decide
    requests: list[list[Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)

    def answer(self, headers: dict[str, str], body: bytes) -> Reply | None:
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        events = json.loads(body)
        self.requests.append(events)
        self.headers.append(headers)
        reply = self.decide(events)
        if reply is not None and reply[0] == 200:
            results = reply[2]["results"]
            self.taken += [one["id"] for one in results if one["verdict"] != "rejected"]
        return reply


def verdicts(
    events: list[Any], rejected: dict[str, str] | None = None, duplicate: tuple[str, ...] = ()
) -> Reply:
    """Answer 200: all accepted but those named."""
    results = []
    for event in events:
        code = (rejected or {}).get(event["id"])
        verdict = "rejected" if code else "duplicate" if event["id"] in duplicate else "accepted"
        results.append(
            {
                "id": event["id"],
                "source": event["source"],
                "verdict": verdict,
                "code": code,
                "detail": "not good" if code else None,
                "pointer": "/data" if code else None,
            }
        )
    count = [one["verdict"] for one in results].count
    counts = {name: count(name) for name in ("accepted", "duplicate", "rejected")}
    return 200, {}, {**counts, "results": results}


def problem(status: int, code: str, **headers: str) -> Reply:
    document = {"type": f"urn:tallybook:problem:{code}", "detail": f"because of {code}"}
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, document


@contextmanager
def running_ingest(decide: Decide = verdicts) -> Iterator[Ingest]:
    """Run the server on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or each answer waits for an acknowledgement

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            reply = ingest.answer({k.lower(): v for k, v in self.headers.items()}, body)
            if reply is None:
                self.close_connection = True
                return
            status, headers, document = reply
            text = json.dumps(document).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    ingest = Ingest(f"http://127.0.0.1:{server.server_port}", decide)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield ingest
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
