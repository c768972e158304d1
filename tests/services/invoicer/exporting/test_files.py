"""A file is there whole, or as it was before."""

from pathlib import Path

import pytest

from services.invoicer.exporting.files import WholeFile
from shared.errors import WrongUseError


def test_a_file_gets_its_name_once_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    with WholeFile(file) as whole:
        whole.write(b"one")
        whole.write(b"two")
        assert not file.exists()
    assert file.read_bytes() == b"onetwo"
    assert list(tmp_path.iterdir()) == [file]


def write_half(file: Path, fault: type[BaseException]) -> None:
    with WholeFile(file) as whole:
        whole.write(b"half")
        raise fault


@pytest.mark.parametrize("fault", [KeyboardInterrupt, ValueError])
def test_one_that_is_interrupted_leaves_what_was_there(
    tmp_path: Path, fault: type[BaseException]
) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"before")
    with pytest.raises(fault):
        write_half(file, fault)
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    with WholeFile(link) as whole:
        whole.write(b"all")
    assert link.is_symlink()
    assert target.read_bytes() == b"all"


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(WrongUseError, match="is no file"), WholeFile(tmp_path):
        pass
    with pytest.raises(WrongUseError, match="cannot be written: No such file"):
        WholeFile(tmp_path / "no" / "where").__enter__()
