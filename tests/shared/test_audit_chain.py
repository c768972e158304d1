"""The audit's chain: whatever is done to it is found, and what is whole is found to be so."""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.audit_chain import GENESIS, Entry, Finding, Link, Verification

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
ENTRIES = st.lists(
    st.builds(
        Entry,
        st.just(0),
        st.datetimes(timezones=st.just(UTC)),
        TEXTS,
        TEXTS,
        TEXTS,
        st.sampled_from([None, "{}", '{"a": 1}']),
        st.sampled_from([None, "null", '{"a": 2}']),
    ),
    min_size=1,
    max_size=8,
)


@dataclass(frozen=True)
class Trail:
    """Links and entries side by side, as a query gives them, and the head."""

    rows: list[tuple[Link | None, Entry | None]]
    head: tuple[int, bytes]

    def findings(self, noted: bytes | None = None) -> list[Finding]:
        verification = Verification(noted)
        found = [one for row in self.rows for one in verification.look_at(*row)]
        return [*found, *verification.end(self.head)]


def trail(entries: list[Entry]) -> Trail:
    """Chain entries as Postgres does, here by another hand."""
    rows: list[tuple[Link | None, Entry | None]] = []
    last = GENESIS
    for position, entry in enumerate(entries, 1):
        named = entry._replace(id=position * 10)
        digest = hashlib.sha256(last)
        micros = (entry.at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        parts = [str(named.id), str(micros), *named[2:5], named.before or "", named.after or ""]
        digest.update(",".join(f"{len(one.encode())}:{one}" for one in parts).encode())
        last = digest.digest()
        rows.append((Link(position, named.id, last), named))
    return Trail(rows, (len(entries), last))


def edited(whole: Trail, place: int, *new: tuple[Link | None, Entry | None]) -> Trail:
    return replace(whole, rows=[*whole.rows[:place], *new, *whole.rows[place + 1 :]])


@given(ENTRIES, st.data())
def test_what_is_whole_is_found_whole_and_what_was_noted_is_in_it(
    entries: list[Entry], data: st.DataObject
) -> None:
    whole = trail(entries)
    link, _ = data.draw(st.sampled_from(whole.rows))
    assert link is not None
    assert whole.findings() == whole.findings(link.hash) == whole.findings(GENESIS) == []
    assert [one.what for one in whole.findings(bytes(31) + b"1")] == ["removed"]


@given(ENTRIES, st.data())
def test_a_changed_entry_is_named(entries: list[Entry], data: st.DataObject) -> None:
    whole = trail(entries)
    place = data.draw(st.integers(0, len(entries) - 1))
    link, entry = whole.rows[place]
    assert entry is not None
    change: dict[str, Any] = data.draw(
        st.sampled_from(
            [
                {"at": entry.at + timedelta(microseconds=1)},
                {"actor": entry.actor + "x"},
                {"actor": entry.actor + "1", "act": entry.act},
                {"subject": "other " + entry.subject},
                {"after": '{"a": 3}'},
                {"id": entry.id + 1},
            ]
        )
    )
    found = edited(whole, place, (link, entry._replace(**change))).findings()
    assert [one.what for one in found] == ["changed"]


def test_a_letter_that_moves_from_one_field_to_the_next_is_a_change() -> None:
    at = datetime(2026, 10, 1, tzinfo=UTC)
    whole = trail([Entry(0, at, "ab", "c", "s", None, None)])
    link, entry = whole.rows[0]
    assert entry is not None
    moved = edited(whole, 0, (link, entry._replace(actor="a", act="bc")))
    assert [one.what for one in moved.findings()] == ["changed"]


@given(ENTRIES, st.data())
def test_a_removed_entry_is_named(entries: list[Entry], data: st.DataObject) -> None:
    whole = trail(entries)
    place = data.draw(st.integers(0, len(entries) - 1))
    link, _ = whole.rows[place]
    assert link is not None
    assert edited(whole, place, (link, None)).findings() == [
        Finding("removed", link.entry_id, f"entry {link.entry_id} is gone")
    ]
    with_its_link = edited(whole, place).findings()
    detail = f"link {place + 1} is gone, with what they were of"
    assert with_its_link == [Finding("removed", None, detail)]


@given(ENTRIES)
def test_an_inserted_entry_is_named_also_with_a_link_after_the_end(entries: list[Entry]) -> None:
    whole = trail(entries)
    more = trail([*entries, entries[0]])
    (link, entry) = more.rows[-1]
    assert entry is not None
    alone = replace(whole, rows=[*whole.rows, (None, entry)])
    assert [(one.what, one.entry) for one in alone.findings()] == [("inserted", entry.id)]
    linked = replace(more, head=whole.head)
    assert [one.what for one in linked.findings()] == ["inserted"]
    assert link is not None


@given(ENTRIES)
def test_a_chain_that_was_made_anew_is_whole_but_lacks_what_was_noted(
    entries: list[Entry],
) -> None:
    noted = trail(entries).head[1]
    anew = trail([entries[0]._replace(actor=entries[0].actor + "x"), *entries[1:]])
    assert anew.findings() == []
    assert [one.what for one in anew.findings(noted)] == ["removed"]
