"""Events on their way to webhook endpoints, and the secrets they are signed with. I/O: SQLite."""

import sqlite3
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to an endpoint: its body, and how often it was tried."""

    number: int
    body: bytes
    url: str
    secret: str
    attempts: int


class Outgoing:
    """The deliveries that a store holds. Writes happen within its `transaction`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def keep_secret(self, endpoint: str, secret: str) -> None:
        """Keep the secret with which an endpoint's deliveries are signed."""
        self._db.execute("INSERT INTO secrets VALUES (?, ?)", (endpoint, secret))

    def forget(self, endpoint: str) -> None:
        """Drop an endpoint's secret, and what it was to get."""
        self._db.execute("DELETE FROM deliveries WHERE endpoint = ?", (endpoint,))
        self._db.execute("DELETE FROM secrets WHERE endpoint = ?", (endpoint,))

    def add(self, event: str, endpoint: str) -> None:
        """Note that an event is to be delivered."""
        self._db.execute(
            "INSERT INTO deliveries (event, endpoint) VALUES (?, ?)", (event, endpoint)
        )

    def due(self, now: float, most: int) -> list[Delivery]:
        """Give what is to be delivered by now, in Unix time, the oldest first."""
        rows = self._db.execute(
            "SELECT d.sequence, e.body, w.body, s.secret, d.attempts FROM deliveries d"
            " JOIN objects e ON e.id = d.event JOIN objects w ON w.id = d.endpoint"
            " JOIN secrets s ON s.endpoint = d.endpoint"
            " WHERE d.due <= ? ORDER BY d.sequence LIMIT ?",
            (now, most),
        )
        return [
            Delivery(row[0], row[1].encode(), msgspec.json.decode(row[2])["url"], row[3], row[4])
            for row in rows
        ]

    def end(self, number: int) -> None:
        """Drop a delivery that was taken, or was tried too often."""
        self._db.execute("DELETE FROM deliveries WHERE sequence = ?", (number,))

    def put_off(self, number: int, due: float) -> None:
        """Note that a delivery was tried, and when it is to be tried again."""
        self._db.execute(
            "UPDATE deliveries SET attempts = attempts + 1, due = ? WHERE sequence = ?",
            (due, number),
        )
