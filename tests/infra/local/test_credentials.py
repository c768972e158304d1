"""A data directory's secrets: kept whole, and for their owner only."""

import stat
from pathlib import Path

import pytest

from infra.local.credentials import Credentials


def test_what_was_never_kept_is_none(tmp_path: Path) -> None:
    assert Credentials(tmp_path).get("postgres") is None


def test_what_was_kept_is_there_at_the_next_start_beside_the_others(tmp_path: Path) -> None:
    Credentials(tmp_path).keep("postgres", "one")
    Credentials(tmp_path).keep("producer_key", "two")
    Credentials(tmp_path).keep("postgres", "three")
    again = Credentials(tmp_path)
    assert (again.get("postgres"), again.get("producer_key")) == ("three", "two")


def test_only_the_owner_may_read_them(tmp_path: Path) -> None:
    Credentials(tmp_path).keep("postgres", "secret")
    files = list(tmp_path.iterdir())
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600]


def test_an_interrupted_writing_before_this_one_is_no_obstacle(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path)
    credentials.keep("postgres", "kept")
    (tmp_path / "credentials.partial").write_text("{")
    assert credentials.get("postgres") == "kept"
    credentials.keep("producer_key", "new")
    assert (credentials.get("postgres"), credentials.get("producer_key")) == ("kept", "new")


def test_a_damaged_file_is_an_error_not_a_new_password(tmp_path: Path) -> None:
    """A new password would lock everyone out of the database that is there."""
    (tmp_path / "credentials.json").write_text("{")
    with pytest.raises(ValueError):
        Credentials(tmp_path).get("postgres")
