"""Files that are there whole or not at all. I/O: the file system."""

import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from shared.errors import WrongUseError


class WholeFile:
    """A file that gets its name once it is whole: a context manager.

    It is written under another name in the same directory. Where the context ends by an error
    that file is removed, and what had the name before stays. Raises `WrongUseError` where it
    cannot be written.
    """

    def __init__(self, file: Path) -> None:
        self._named = file
        self._file = file.resolve()
        self._part = self._file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
        self._open: BinaryIO | None = None

    def __enter__(self) -> "WholeFile":
        if self._file.exists() and not self._file.is_file():
            raise WrongUseError(f"{self._named} is no file; name one, or use - for standard output")
        try:
            self._open = self._part.open("xb")
        except OSError as error:
            raise self._cannot(error) from None
        return self

    def write(self, data: bytes) -> None:
        """Write on."""
        assert self._open is not None
        try:
            self._open.write(data)
        except OSError as error:
            raise self._cannot(error) from None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        assert self._open is not None
        try:
            with self._open as opened:
                if kind is None:
                    opened.flush()
                    os.fsync(opened.fileno())
            if kind is None:
                self._part.replace(self._file)
        except OSError as fault:
            if kind is None:
                raise self._cannot(fault) from None
        finally:
            self._part.unlink(missing_ok=True)

    def _cannot(self, error: OSError) -> WrongUseError:
        return WrongUseError(f"{self._named} cannot be written: {error.strerror or error}")
