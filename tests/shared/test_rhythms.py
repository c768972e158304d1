"""A source is silent once it has said nothing for longer than is usual for it."""

from datetime import UTC, datetime, timedelta

from shared.rhythms import Rhythm

AT = datetime(2026, 10, 3, 12, tzinfo=UTC)


def test_a_source_is_silent_only_beyond_what_is_usual() -> None:
    rhythm = Rhythm(AT, timedelta(minutes=10))
    assert rhythm.is_silent(AT + timedelta(minutes=10)) is False
    assert rhythm.is_silent(AT + timedelta(minutes=11)) is True


def test_without_enough_to_go_by_nobody_can_say() -> None:
    assert Rhythm(AT).is_silent(AT + timedelta(days=9)) is None
    assert Rhythm().is_silent(AT) is None
