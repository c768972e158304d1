"""A compressed body is read whole, or refused before it has grown large."""

import contextlib
import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.decompressing import (
    BrokenEncodingError,
    TooMuchError,
    decompressed,
    is_known,
)

MOST = 100_000
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "zstd": zstandard.compress,
}
EVERY_ENCODING = pytest.mark.parametrize("encoding", COMPRESS)


@EVERY_ENCODING
@given(body=st.binary(max_size=5_000))
def test_what_was_compressed_comes_back(encoding: str, body: bytes) -> None:
    assert decompressed(encoding, COMPRESS[encoding](body), MOST) == body


@EVERY_ENCODING
def test_parts_put_together_are_read_one_after_the_other(encoding: str) -> None:
    parts = [b"one", b"", b"x" * 3_000]
    together = b"".join(COMPRESS[encoding](part) for part in parts)
    assert decompressed(encoding, together, MOST) == b"".join(parts)
    with pytest.raises(BrokenEncodingError):
        decompressed(encoding, COMPRESS[encoding](b"") * 10_000, MOST)


@EVERY_ENCODING
def test_the_limit_is_of_what_comes_out(encoding: str) -> None:
    assert len(decompressed(encoding, COMPRESS[encoding](b"x" * MOST), MOST)) == MOST
    with pytest.raises(TooMuchError):
        decompressed(encoding, COMPRESS[encoding](b"x" * (MOST + 1)), MOST)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_refused_before_it_has_grown(encoding: str) -> None:
    bomb = COMPRESS[encoding](bytes(300_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(TooMuchError):
            decompressed(encoding, bomb, MOST)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_window_beyond_8_megabytes_is_refused() -> None:
    terms = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    writer = zstandard.ZstdCompressor(compression_params=terms).compressobj()
    body = writer.compress(b"x" * 1_000) + writer.flush()
    with pytest.raises(BrokenEncodingError):
        decompressed("zstd", body, MOST)


@EVERY_ENCODING
@pytest.mark.parametrize("damage", ["short", "shorter", "long", "other"])
def test_a_broken_body_is_refused(encoding: str, damage: str) -> None:
    whole = COMPRESS[encoding](b'[{"a":1}]')
    broken = {
        "short": whole[:-1],
        "shorter": whole[:5],
        "long": whole + b"x",
        "other": zlib.compress(b"[]"),
    }[damage]
    with pytest.raises(BrokenEncodingError):
        decompressed(encoding, broken, MOST)


@EVERY_ENCODING
@given(body=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(encoding: str, body: bytes) -> None:
    with contextlib.suppress(BrokenEncodingError, TooMuchError):
        assert len(decompressed(encoding, body, MOST)) <= MOST


def test_only_these_encodings_are_known() -> None:
    assert not any(is_known(other) for other in ("", "br", "deflate", "gzip, gzip", "GZIP"))
