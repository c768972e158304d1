"""Which loopback port each part of the stack listens on."""

import json
import socket
from pathlib import Path

import psutil

from infra.local.errors import PortTakenError

PARTS = ("ingest", "rater", "invoicer", "stripe", "postgres", "kafka", "kafka_controller")
"""The parts, in the order of their ports from a given base on."""

_HOST = "127.0.0.1"


def choose_ports(directory: Path, base: int | None) -> dict[str, int]:
    """Choose a port for each part and note them in the directory.

    With a base they are the base and the ones after it, and a taken one raises
    `PortTakenError`. Without, those of the last start are used again where they are free.
    """
    noted = directory / "ports.json"
    if base is not None:
        ports = {part: base + position for position, part in enumerate(PARTS)}
        for part, port in ports.items():
            if not is_free(port):
                raise PortTakenError(port, part, _holder(port))
    else:
        ports = _free_ports(_read(noted))
    noted.write_text(json.dumps(ports), encoding="utf-8")
    return ports


def is_free(port: int) -> bool:
    """Tell whether nothing listens on a loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
        return True


def _free_ports(wanted: dict[str, int]) -> dict[str, int]:
    ports = {part: port for part, port in wanted.items() if part in PARTS and is_free(port)}
    held: list[socket.socket] = []
    try:
        for part in PARTS:
            if part not in ports:
                probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                probe.bind((_HOST, 0))
                held.append(probe)
                ports[part] = probe.getsockname()[1]
    finally:
        for probe in held:
            probe.close()
    return ports


def _read(noted: Path) -> dict[str, int]:
    try:
        document = json.loads(noted.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(part): int(port) for part, port in document.items()}


def _holder(port: int) -> str | None:
    """Name the process that listens on a port, as far as this user may see it."""
    try:
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port:
                process = psutil.Process(connection.pid)
                return f"{process.name()} (process {process.pid})"
    except psutil.Error:
        return None
    return None
