"""The audit trail: who did what to money or access, and when (I12)."""

import getpass
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession


def login_name() -> str:
    """Name the person at the command line, as the operating system knows them."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli:unknown"


async def record(
    connection: AsyncConnection | AsyncSession,
    *,
    actor: str,
    act: str,
    subject: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Append an entry in the transaction of the act itself."""
    await connection.execute(
        text(
            "INSERT INTO audit_entries (actor, act, subject, before, after)"
            " VALUES (:actor, :act, :subject, CAST(:before AS jsonb), CAST(:after AS jsonb))"
        ),
        {
            "actor": actor,
            "act": act,
            "subject": subject,
            "before": _json(before),
            "after": _json(after),
        },
    )


def _json(document: dict[str, Any] | None) -> str | None:
    return None if document is None else msgspec.json.encode(document).decode()
