"""The Stripe sandbox as somebody with its keys, or with its file, sees it. I/O: HTTP, SQLite.

Through the API one does what a person at Stripe's dashboard can; in the file, what never should
happen, and what time does.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.infra.stripe_sandbox.checked import KEY, Api, ok

Json = dict[str, Any]


class StripeSide:
    """One sandbox, seen from Stripe's side."""

    def __init__(self, http: httpx.AsyncClient, file: Path) -> None:
        self.api = Api(http)
        self._file = file

    # through the API ----------------------------------------------------------------------

    async def invoices(self, customer: str | None = None) -> list[Json]:
        """Give all invoices, the newest first, or those made for one customer of ours."""
        found: list[Json] = []
        while True:
            after = {"starting_after": found[-1]["id"]} if found else {}
            page = ok(await self.api.get("/v1/invoices", {"limit": 100, **after}))
            found.extend(page["data"])
            if not page["has_more"]:
                break
        if customer is None:
            return found
        return [one for one in found if one["metadata"].get("tallybook_customer") == customer]

    async def customers(self) -> list[Json]:
        """Give the first hundred customers."""
        return list(ok(await self.api.get("/v1/customers", {"limit": 100}))["data"])

    async def counts(self) -> Json:
        """Count what is kept, by kind and status."""
        counted: Json = (await self.api.http.get("/_sandbox/state")).json()["objects"]
        return {name: counted[name] for name in ("customer", "invoice", "line_item")}

    async def requests(self) -> Json:
        """Count the requests by operation."""
        counted: Json = (await self.api.http.get("/_sandbox/state")).json()["requests"]
        return counted

    async def delete_draft(self, invoice: str) -> None:
        """Delete a draft."""
        ok(await self.api.http.delete(f"/v1/invoices/{invoice}"))

    # in the file --------------------------------------------------------------------------

    @contextlib.contextmanager
    def _file_open(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self._file, timeout=20)) as database, database:
            yield database

    def forget_keys(self) -> None:
        """Forget all idempotency keys, as Stripe may after 24 hours."""
        with self._file_open() as database:
            database.execute("DELETE FROM answers")

    def hide(self, invoice: str, *, hidden: bool = True) -> None:
        """Take an invoice away, whatever its status; or bring it back."""
        with self._file_open() as database:
            database.execute("UPDATE objects SET deleted = ? WHERE id = ?", (int(hidden), invoice))

    def change(self, invoice: str, **fields: Any) -> Json:
        """Change an invoice's fields; gives them as they were."""
        with self._file_open() as database:
            return _change(database, "objects", "id", invoice, fields)

    def change_lines(self, invoice: str, **fields: Any) -> Json:
        """Change the first line of an invoice; gives the fields as they were."""
        with self._file_open() as database:
            query = "SELECT id FROM lines WHERE invoice = ? ORDER BY sequence LIMIT 1"
            (line,) = database.execute(query, (invoice,)).fetchone()
            return _change(database, "lines", "id", line, fields)


def _change(database: sqlite3.Connection, table: str, name: str, value: str, fields: Json) -> Json:
    (body,) = database.execute(f"SELECT body FROM {table} WHERE {name} = ?", (value,)).fetchone()
    document = json.loads(body)
    before = {field: document[field] for field in fields}
    text = json.dumps({**document, **fields})
    database.execute(f"UPDATE {table} SET body = ? WHERE {name} = ?", (text, value))
    return before


@contextlib.asynccontextmanager
async def stripe_side(url: str, file: Path) -> Any:
    """Open a view of the sandbox at an address, kept in a file."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as http:
        yield StripeSide(http, file)
