"""The JSON of the audit trail: the same over HTTP and from the command."""

from collections.abc import Sequence
from typing import Any

from typing_extensions import TypedDict

from services.invoicer.auditing.reading import MOST_LISTED, Verified
from shared.errors import InvalidInputError
from shared.moments import format_moment
from shared.tables.everyone import AuditEntry

_HASH_BYTES = 32


class EntryDocument(TypedDict):
    """An act that changed money or access."""

    id: int
    at: str | None
    actor: str
    act: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class EntriesDocument(TypedDict):
    """Entries, the newest first; where there may be more, those are before `more_before`."""

    entries: list[EntryDocument]
    more_before: int | None


class HeadDocument(TypedDict):
    """The last link of the chain: note it elsewhere, and ask later whether it is still there."""

    position: int
    hash: str


class FindingDocument(TypedDict):
    """What is not as it was written: `changed`, `removed` or `inserted`."""

    what: str
    entry: int | None
    detail: str


class VerificationDocument(TypedDict):
    """Whether the trail is whole."""

    whole: bool
    entries: int
    head: HeadDocument
    findings: list[FindingDocument]


def entries_document(entries: Sequence[AuditEntry]) -> EntriesDocument:
    """Describe entries."""
    return {
        "entries": [
            {
                "id": one.id or 0,
                "at": format_moment(one.at),
                "actor": one.actor,
                "act": one.act,
                "subject": one.subject,
                "before": one.before,
                "after": one.after,
            }
            for one in entries
        ],
        "more_before": entries[-1].id if len(entries) == MOST_LISTED else None,
    }


def verification_document(verified: Verified) -> VerificationDocument:
    """Describe what a verification found."""
    position, last = verified.head
    return {
        "whole": not verified.findings,
        "entries": verified.entries,
        "head": {"position": position, "hash": last.hex()},
        "findings": [
            {"what": one.what, "entry": one.entry, "detail": one.detail}
            for one in verified.findings
        ],
    }


def read_hash(text: str | None) -> bytes | None:
    """Read a hash that was noted; raise `InvalidInputError` where it is none."""
    if text is None:
        return None
    try:
        noted = bytes.fromhex(text)
    except ValueError:
        noted = b""
    if len(noted) != _HASH_BYTES:
        raise InvalidInputError(f"{text!r} is no hash of the audit; it has 64 hexadecimal digits")
    return noted
