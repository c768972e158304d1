"""What the export command refuses, before it asks the database anything."""

from pathlib import Path

import pytest

from services.invoicer.exporting.commands import export_command
from services.invoicer.exporting.kinds import Kind
from shared.errors import WrongUseError
from shared.periods import Period


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    nowhere = tmp_path / "not" / "there.csv"
    with pytest.raises(WrongUseError, match=r"there\.csv cannot be written: No such file"):
        export_command(Kind.EVENTS, Period(2026, 10), out=nowhere)
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_no_file() -> None:
    with pytest.raises(WrongUseError, match="/dev/null is no file"):
        export_command(Kind.EVENTS, Period(2026, 10), out=Path("/dev/null"))
    assert not Path("/dev/null").is_file()


def test_the_rows_and_the_document_cannot_both_go_to_standard_output() -> None:
    with pytest.raises(WrongUseError, match="both want standard output"):
        export_command(Kind.EVENTS, Period(2026, 10), out=Path("-"), json=True)
