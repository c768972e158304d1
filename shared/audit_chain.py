"""The audit's chain, reckoned again: what was changed, removed or put in. Pure.

The hash of an entry is SHA-256 over the hash before it and the entry's fields, each with its
length in bytes before it; before the first stand 32 bytes of nothing. Postgres makes the chain
as entries are committed; this checks it without any code of Postgres's.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

GENESIS = bytes(32)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Entry(NamedTuple):
    """An entry as it stands in the table; `before` and `after` are JSON as Postgres writes it."""

    id: int
    at: datetime
    actor: str
    act: str
    subject: str
    before: str | None
    after: str | None


class Link(NamedTuple):
    """A place in the chain; from 1, without gaps."""

    position: int
    entry_id: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written, in words too."""

    what: Literal["changed", "removed", "inserted"]
    entry: int | None
    detail: str


def entry_hash(before: bytes, entry: Entry) -> bytes:
    """Give the hash of an entry that stands after the one of that hash."""
    fields = (
        str(entry.id),
        str((entry.at - _EPOCH) // timedelta(microseconds=1)),
        entry.actor,
        entry.act,
        entry.subject,
        entry.before or "",
        entry.after or "",
    )
    content = b",".join(b"%d:%s" % (len(one), one) for one in map(str.encode, fields))
    return hashlib.sha256(before + content).digest()


class Verification:
    """Looks at the chain link by link; each fault is found once.

    After a link that is missing, the next one is taken at its word.
    """

    def __init__(self, noted: bytes | None = None) -> None:
        self.entries = 0
        self._hash: bytes | None = GENESIS
        self._next = 1
        self._noted = None if noted == GENESIS else noted

    def look_at(self, link: Link | None, entry: Entry | None) -> Iterator[Finding]:
        """Look at a link and its entry, in the order of the chain; what has no link, last."""
        self.entries += entry is not None
        if link is None:
            assert entry is not None
            yield Finding("inserted", entry.id, f"entry {entry.id} is not in the chain")
            return
        if link.position != self._next:
            yield self._gap(link.position)
            self._hash = None
        if entry is None:
            yield Finding("removed", link.entry_id, f"entry {link.entry_id} is gone")
        elif self._hash is not None and entry_hash(self._hash, entry) != link.hash:
            yield Finding("changed", entry.id, f"entry {entry.id} is not as it was written")
        self._hash, self._next = link.hash, link.position + 1
        if link.hash == self._noted:
            self._noted = None

    def end(self, head: tuple[int, bytes]) -> Iterator[Finding]:
        """Look at where the chain ends, and whether the noted hash was in it."""
        position, last = head
        if position >= self._next:
            yield self._gap(position + 1)
        elif position < self._next - 1:
            yield Finding("inserted", None, f"the chain goes on after its end, link {position}")
        elif last != self._hash:
            yield Finding("changed", None, f"the end of the chain is not its last link, {position}")
        if self._noted is not None:
            detail = f"the noted hash {self._noted.hex()} is not in the chain"
            yield Finding("removed", None, detail)

    def _gap(self, until: int) -> Finding:
        first, last = self._next, until - 1
        links = f"link {first} is" if first == last else f"links {first} to {last} are"
        return Finding("removed", None, f"{links} gone, with what they were of")
