"""Reads a request: which mode it has, and the events in it, each still as it came. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from services.ingest.decompressing import (
    ENCODINGS,
    BrokenEncodingError,
    TooMuchError,
    decompressed,
    is_known,
)
from shared.binary_mode import HTTP_PREFIX, BinaryEvent, http_attributes, read_binary
from shared.errors import TallybookError

ONE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, as ASGI gives them."""

_decode_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode


class RequestError(TallybookError):
    """A request of which no event could be read."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        self.status = status
        self.code = code
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """How large a request may be, also once it is decompressed."""

    max_bytes: int
    max_events: int

    @property
    def too_large(self) -> RequestError:
        """Make the refusal of a request that has too many bytes."""
        return RequestError(413, "too_large", f"a request has at most {self.max_bytes} bytes")


class Reader:
    """Reads one request: its headers first, which may refuse it, then its body."""

    def __init__(self, headers: Headers, limits: RequestLimits) -> None:
        self._headers = headers
        self._limits = limits
        named = dict(headers)
        declared = named.get(b"content-length", b"0")
        if not declared.isdigit() or len(declared) > 18 or int(declared) > limits.max_bytes:
            raise limits.too_large
        self._encoding = named.get(b"content-encoding", b"").decode("latin-1").strip().lower()
        if self._encoding not in ("", "identity") and not is_known(self._encoding):
            raise RequestError(
                415,
                "unsupported_encoding",
                f"compress with {' or '.join(ENCODINGS)}, or not at all",
            )
        self._content_type = named.get(b"content-type", b"").decode("latin-1").strip()
        self._media_type = self._content_type.partition(";")[0].rstrip().lower()
        if self._media_type not in (ONE, BATCH) and not self._is_binary():
            raise RequestError(
                415,
                "unsupported_media_type",
                f"send {BATCH} (many events), {ONE} (one), or one in binary mode with ce- headers",
            )

    @property
    def is_batch(self) -> bool:
        """Tell whether the body is an array of events."""
        return self._media_type == BATCH

    def _is_binary(self) -> bool:
        return not self._media_type.startswith("application/cloudevents") and any(
            name.startswith(HTTP_PREFIX) for name, _ in self._headers
        )

    def plain(self, body: bytes) -> bytes:
        """Undo the body's compression."""
        if not is_known(self._encoding):
            return body
        try:
            return decompressed(self._encoding, body, self._limits.max_bytes)
        except TooMuchError:
            raise self._limits.too_large from None
        except BrokenEncodingError as error:
            detail = f"the body cannot be decompressed: {error}"
            raise RequestError(400, "invalid_encoding", detail) from None

    def events(self, plain: bytes) -> Sequence[msgspec.Raw | bytes | BinaryEvent]:
        """Give the events of a body without compression."""
        if self.is_batch:
            return self._split(plain)
        if self._media_type == ONE:
            return [plain]
        return [read_binary(http_attributes(self._headers), self._content_type or None, plain)]

    def _split(self, plain: bytes) -> Sequence[msgspec.Raw]:
        try:
            raws = _decode_batch(plain)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            detail = f"the body is no JSON array of events: {error}"
            raise RequestError(400, "invalid_json", detail) from None
        if len(raws) > self._limits.max_events:
            most = self._limits.max_events
            raise RequestError(413, "too_many_events", f"a request has at most {most} events")
        return raws
