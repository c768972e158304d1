"""Ports: remembered where they are free, named where they are not."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.errors import PortTakenError
from infra.local.ports import PARTS, choose_ports, is_free


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which this process listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_every_part_has_a_free_port_of_its_own(tmp_path: Path) -> None:
    ports = choose_ports(tmp_path, None)
    assert tuple(ports) == PARTS
    assert len(set(ports.values())) == len(PARTS)
    assert all(is_free(port) for port in ports.values())


def test_the_next_start_has_the_same_ports(tmp_path: Path) -> None:
    assert choose_ports(tmp_path, None) == choose_ports(tmp_path, None)


def test_a_remembered_port_that_is_taken_is_replaced_alone(tmp_path: Path, taken: int) -> None:
    first = choose_ports(tmp_path, None)
    noted = tmp_path / "ports.json"
    noted.write_text(noted.read_text().replace(str(first["kafka"]), str(taken)))
    second = choose_ports(tmp_path, None)
    assert second["kafka"] != taken
    assert {**second, "kafka": 0} == {**first, "kafka": 0}


@pytest.mark.parametrize("noted", ["", "{", "no JSON", '{"kafka"'])
def test_damaged_notes_are_written_anew(tmp_path: Path, noted: str) -> None:
    (tmp_path / "ports.json").write_text(noted)
    assert choose_ports(tmp_path, None) == choose_ports(tmp_path, None)


def test_with_a_base_the_ports_follow_it(tmp_path: Path) -> None:
    base = _free_range()
    assert list(choose_ports(tmp_path, base).values()) == list(range(base, base + len(PARTS)))


def test_a_taken_port_is_reported_with_its_part_and_holder(tmp_path: Path, taken: int) -> None:
    with pytest.raises(PortTakenError) as error:
        choose_ports(tmp_path, taken)
    assert (error.value.port, error.value.part) == (taken, "ingest")
    assert f"process {os.getpid()}" in str(error.value)
    assert "--port-base" in str(error.value)


def _free_range() -> int:
    for base in range(42_000, 60_000, 100):
        if all(is_free(base + offset) for offset in range(len(PARTS))):
            return base
    raise AssertionError("no range of free ports")
