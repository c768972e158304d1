"""Remembers beside a file how much of it has been answered. I/O: one small file."""

import os
from pathlib import Path

import msgspec

from shared.errors import WrongUseError


class Counts(msgspec.Struct):
    """Verdicts so far; `rejected` is by code."""

    accepted: int = 0
    duplicate: int = 0
    rejected: dict[str, int] = msgspec.field(default_factory=dict)

    def add(self, other: "Counts") -> None:
        """Add the counts of a request."""
        self.accepted += other.accepted
        self.duplicate += other.duplicate
        for code, count in other.rejected.items():
            self.rejected[code] = self.rejected.get(code, 0) + count

    @property
    def all_rejected(self) -> int:
        """Count the rejected ones of all codes."""
        return sum(self.rejected.values())


class Identity(msgspec.Struct, frozen=True):
    """What tells a file from another, or from itself after a change."""

    size: int
    modified_ns: int
    inode: int
    device: int


class Place(msgspec.Struct):
    """Everything before `offset` has an answer; `lines` lines stand there."""

    file: Identity
    offset: int = 0
    lines: int = 0
    counts: Counts = msgspec.field(default_factory=Counts)


def identity_of(descriptor: int) -> Identity:
    """Say which file is open."""
    status = os.fstat(descriptor)
    return Identity(status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)


class PlaceFile:
    """The file ``FILE.progress``."""

    def __init__(self, file: Path) -> None:
        self.path = file.with_name(file.name + ".progress")

    def read(self) -> Place | None:
        """Read the place, None where none is kept or what is there cannot be read."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Place)
        except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def write(self, place: Place) -> None:
        """Keep the place: the old one or the new one is there, whatever happens."""
        temporary = self.path.with_name(self.path.name + ".new")
        try:
            with temporary.open("wb") as file:
                file.write(msgspec.json.encode(place))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as error:
            raise WrongUseError(
                f"{self.path} cannot be written ({error.strerror}); it keeps how far the file is"
                " sent: make the directory writable, or send from standard input"
            ) from None

    def remove(self) -> None:
        """Forget the place."""
        self.path.unlink(missing_ok=True)
