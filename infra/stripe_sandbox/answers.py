"""What was answered to which idempotency key. I/O: SQLite."""

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The answer kept for an idempotency key, and the request that it answered."""

    path: str
    params: str
    created: int
    request_id: str
    status: int
    body: bytes


class Answers:
    """The kept answers of a store. Writes happen within its `transaction`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, key: str) -> KeptAnswer | None:
        """Give what is kept for an idempotency key."""
        row = self._db.execute(
            "SELECT path, params, created, request_id, status, body FROM answers"
            " WHERE idempotency_key = ?",
            (key,),
        ).fetchone()
        return None if row is None else KeptAnswer(*row)

    def keep(self, key: str, answer: KeptAnswer) -> None:
        """Keep an answer for an idempotency key, in place of one that is too old."""
        values = (answer.path, answer.params, answer.created, answer.request_id, answer.status)
        self._db.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key, *values, answer.body),
        )

    def change(self, key: str, status: int, body: bytes) -> None:
        """Put another answer in the place of the one kept for an idempotency key."""
        self._db.execute(
            "UPDATE answers SET status = ?, body = ? WHERE idempotency_key = ?", (status, body, key)
        )

    def forget_all(self) -> None:
        """Forget what was answered to which idempotency key."""
        self._db.execute("DELETE FROM answers")
