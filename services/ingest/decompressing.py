"""Undoes the compression of a request in small steps, so that no bomb gets far. Pure."""

import zlib
from collections.abc import Callable
from typing import Protocol

import zstandard

ENCODINGS = ("gzip", "zstd")

_STEP = 512
"""Bytes read at once; a step makes 8 MB of zstd's worst, and half a MB of gzip's."""
_MOST_FRAMES = 100
_GZIP = 16 + zlib.MAX_WBITS
_MAX_WINDOW = 8 * 1024 * 1024
"""What a receiver of zstd over HTTP has to hold in memory (RFC 9659)."""


class BrokenEncodingError(Exception):
    """A body that is not what its Content-Encoding says."""


class TooMuchError(Exception):
    """A body that holds more bytes than may be."""


class _Frame(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _gzip() -> _Frame:
    return zlib.decompressobj(_GZIP)


def _zstd() -> _Frame:
    return zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj()


_FRAMES: dict[str, Callable[[], _Frame]] = {"gzip": _gzip, "x-gzip": _gzip, "zstd": _zstd}


def is_known(encoding: str) -> bool:
    """Tell whether bodies of this Content-Encoding are taken."""
    return encoding in _FRAMES


def decompressed(encoding: str, body: bytes, most: int) -> bytes:
    """Undo an encoding that `is_known`.

    Raises `TooMuchError` as soon as there are more than `most` bytes, and
    `BrokenEncodingError`, also for a body that ends too early.
    """
    parts: list[bytes] = []
    size = place = frames = 0
    while place < len(body):
        frames += 1
        if frames > _MOST_FRAMES:
            raise BrokenEncodingError(f"more than {_MOST_FRAMES} parts were put together")
        frame = _FRAMES[encoding]()
        while not frame.eof:
            piece = body[place : place + _STEP]
            if not piece:
                raise BrokenEncodingError("it ends too early")
            place += len(piece)
            try:
                parts.append(frame.decompress(piece))
            except (zlib.error, zstandard.ZstdError) as error:
                raise BrokenEncodingError(str(error)) from None
            size += len(parts[-1])
            if size > most:
                raise TooMuchError
        place -= len(frame.unused_data)
    return b"".join(parts)
