"""Keeps all of the sandbox's state in one SQLite file: its objects here. I/O: that file.

One connection, used by one thread. With WAL and synchronous=NORMAL a committed transaction
outlives the process; only a power cut may take the last ones.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from infra.stripe_sandbox.answers import Answers
from infra.stripe_sandbox.errors import missing_resource
from infra.stripe_sandbox.objects import Json
from infra.stripe_sandbox.outgoing import Outgoing

_VERSION = 2
_SCHEMA = """
CREATE TABLE objects (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    customer TEXT,
    email TEXT,
    status TEXT,
    collection_method TEXT,
    type TEXT,
    invoice TEXT,
    created INTEGER NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0,
    body TEXT NOT NULL
);
CREATE INDEX objects_by_kind ON objects (kind, sequence);
CREATE INDEX objects_by_customer ON objects (kind, customer, sequence);
CREATE INDEX objects_by_email ON objects (kind, email, sequence);
CREATE TABLE secrets (endpoint TEXT PRIMARY KEY, secret TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE deliveries (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0
);
CREATE TABLE overdue (invoice TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE controls (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE lines (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    invoice TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX lines_by_invoice ON lines (invoice, sequence);
CREATE TABLE answers (
    idempotency_key TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    params TEXT NOT NULL,
    created INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    status INTEGER NOT NULL,
    body BLOB NOT NULL
) WITHOUT ROWID;
"""

_BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_FILTERS = ("customer", "email", "status", "collection_method", "type", "invoice")
_PAGE = 10


class OtherVersionError(Exception):
    """The file was written by another version of the sandbox; remove it to begin anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path} was made by another version of the Stripe sandbox: remove it")


class Store:
    """The file. Writes happen within `transaction`."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables == 0:
            self._db.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {_VERSION};COMMIT;")
        elif version != _VERSION:
            self._db.close()
            raise OtherVersionError(path)
        self.answers = Answers(self._db)
        self.outgoing = Outgoing(self._db)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is written within, or nothing of it where an exception leaves."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Within a transaction, undo what is written within where an exception leaves."""
        self._db.execute("SAVEPOINT operation")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK TO operation")
            raise
        finally:
            self._db.execute("RELEASE operation")

    def put(self, document: Json) -> None:
        """Write an object, new or changed."""
        self._db.execute(
            "INSERT INTO objects (id, kind, customer, email, status, collection_method, type,"
            " invoice, created, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET email = excluded.email, status = excluded.status,"
            " collection_method = excluded.collection_method, body = excluded.body",
            (
                document["id"],
                document["object"],
                document.get("customer"),
                document.get("email"),
                document.get("status"),
                document.get("collection_method"),
                document.get("type"),
                document.get("invoice"),
                document["created"],
                msgspec.json.encode(document).decode(),
            ),
        )

    def get(self, kind: str, object_id: str) -> tuple[Json, bool] | None:
        """Read an object, and whether it was deleted."""
        row = self._db.execute(
            "SELECT body, deleted FROM objects WHERE id = ? AND kind = ?", (object_id, kind)
        ).fetchone()
        return None if row is None else (msgspec.json.decode(row[0]), bool(row[1]))

    def mark_deleted(self, object_id: str) -> None:
        """Keep an object, but out of the lists."""
        self._db.execute("UPDATE objects SET deleted = 1 WHERE id = ?", (object_id,))

    def remove(self, object_id: str) -> None:
        """Remove an object and what belongs to it."""
        self.outgoing.forget(object_id)
        self._db.execute("DELETE FROM lines WHERE invoice = ?", (object_id,))
        self._db.execute("DELETE FROM objects WHERE id = ?", (object_id,))

    def page(self, kind: str, query: Mapping[str, Any]) -> tuple[list[Json], bool]:
        """Give a page of objects, the newest first, and whether there are more."""
        where, values = ["kind = ?", "deleted = 0"], [kind]
        for name in _FILTERS:
            if name in query:
                where.append(f"{name} = ?")
                values.append(query[name])
        if "types" in query:
            where.append(f"type IN ({', '.join('?' * len(query['types']))})")
            values.extend(query["types"])
        created = query.get("created", {})
        if isinstance(created, int):
            created = {"gte": created, "lte": created}
        for name, bound in created.items():
            where.append(f"created {_BOUNDS[name]} ?")
            values.append(bound)
        return self._page("objects", kind, where, values, query, newest_first=True)

    def add_lines(self, invoice: str, lines: Sequence[Json]) -> None:
        """Append lines to an invoice."""
        self._db.executemany(
            "INSERT INTO lines (id, invoice, body) VALUES (?, ?, ?)",
            [(line["id"], invoice, msgspec.json.encode(line).decode()) for line in lines],
        )

    def line(self, invoice: str, line_id: str) -> Json | None:
        """Read a line of an invoice."""
        row = self._db.execute(
            "SELECT body FROM lines WHERE id = ? AND invoice = ?", (line_id, invoice)
        ).fetchone()
        return None if row is None else msgspec.json.decode(row[0])

    def all(self, kind: str) -> list[Json]:
        """Give all objects of a kind, the oldest first."""
        rows = self._db.execute(
            "SELECT body FROM objects WHERE kind = ? AND deleted = 0 ORDER BY sequence", (kind,)
        )
        return [msgspec.json.decode(row[0]) for row in rows]

    def newly_overdue(self, now: int) -> list[Json]:
        """Give the open invoices that are past their due date, each of them once."""
        rows = self._db.execute(
            "SELECT id, body FROM objects WHERE kind = 'invoice' AND status = 'open'"
            " AND json_extract(body, '$.due_date') < ? AND id NOT IN (SELECT invoice FROM overdue)"
            " ORDER BY sequence",
            (now,),
        ).fetchall()
        self._db.executemany("INSERT INTO overdue VALUES (?)", [(row[0],) for row in rows])
        return [msgspec.json.decode(row[1]) for row in rows]

    def count_lines(self, invoice: str) -> int:
        """Count an invoice's lines."""
        query = "SELECT count(*) FROM lines WHERE invoice = ?"
        return int(self._db.execute(query, (invoice,)).fetchone()[0])

    def lines_page(self, invoice: str, query: Mapping[str, Any]) -> tuple[list[Json], bool]:
        """Give a page of an invoice's lines, as they were added, and whether there are more."""
        where = ["invoice = ?"]
        return self._page("lines", "line item", where, [invoice], query, newest_first=False)

    def _page(
        self,
        table: str,
        kind: str,
        where: list[str],
        values: list[Any],
        query: Mapping[str, Any],
        *,
        newest_first: bool,
    ) -> tuple[list[Json], bool]:
        limit = query.get("limit", _PAGE)
        backwards = "ending_before" in query
        for name in ("starting_after", "ending_before"):
            if name in query:
                later = (name == "starting_after") != newest_first
                where.append(f"sequence {'>' if later else '<'} ?")
                values.append(self._sequence(table, kind, query[name], name))
        order = "DESC" if newest_first != backwards else "ASC"
        rows = self._db.execute(
            f"SELECT body FROM {table} WHERE {' AND '.join(where)}"
            f" ORDER BY sequence {order} LIMIT ?",
            (*values, limit + 1),
        ).fetchall()
        page = [msgspec.json.decode(row[0]) for row in rows[:limit]]
        return (page[::-1] if backwards else page), len(rows) > limit

    def _sequence(self, table: str, kind: str, object_id: str, param: str) -> int:
        query = f"SELECT sequence FROM {table} WHERE id = ?"
        row = self._db.execute(query, (object_id,)).fetchone()
        if row is None:
            raise missing_resource(kind, object_id, param, status=400)
        return int(row[0])

    def control(self, name: str) -> int:
        """Give what a control is set to, 0 for one that never was."""
        row = self._db.execute("SELECT value FROM controls WHERE name = ?", (name,)).fetchone()
        return 0 if row is None else int(row[0])

    def set_control(self, name: str, value: int) -> None:
        """Set a control."""
        self._db.execute("INSERT OR REPLACE INTO controls VALUES (?, ?)", (name, value))

    def counts(self) -> dict[str, dict[str, int]]:
        """Count the objects but events by kind and status, and the lines and kept answers."""
        counted: dict[str, dict[str, int]] = {"customer": {}, "invoice": {}}
        for kind, status, number in self._db.execute(
            "SELECT kind, CASE deleted WHEN 1 THEN 'deleted' ELSE coalesce(status, 'active') END,"
            " count(*) FROM objects WHERE kind <> 'event' GROUP BY 1, 2"
        ):
            counted.setdefault(kind, {})[status] = number
        for kind, table in (("line_item", "lines"), ("idempotent_answer", "answers")):
            (number,) = self._db.execute(f"SELECT count(*) FROM {table}").fetchone()
            counted[kind] = {"total": number}
        return counted
