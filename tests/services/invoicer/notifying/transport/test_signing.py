"""Signatures are those of the specification."""

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.invoicer.notifying.transport.signing import (
    SECRET_BYTES,
    body_of,
    signed_headers,
    write_secret,
)
from tests.house.repository import text_of
from tests.services.invoicer.notifying.outbox.test_notices import notice

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The example of the specification's own libraries, as are the message and its signature."""


def test_the_example_of_the_specification_comes_out() -> None:
    now = datetime.fromtimestamp(1614265330, UTC)
    headers = signed_headers([SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", now, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_each_secret_in_force_signs() -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    others = [write_secret(b"a" * 24), write_secret(b"b" * 64)]
    each = [signed_headers([one], "id", now, b"{}")["webhook-signature"] for one in others]
    assert signed_headers(others, "id", now, b"{}")["webhook-signature"] == " ".join(each)


def test_a_secret_is_marked_and_long_enough() -> None:
    assert 24 <= SECRET_BYTES <= 64
    raw = bytes(range(SECRET_BYTES))
    assert base64.b64decode(write_secret(raw).removeprefix("whsec_")) == raw


def test_a_body_says_what_happened_and_when() -> None:
    assert msgspec.json.decode(body_of(notice(data={"total": "1.00"}))) == {
        "type": "invoice.paid",
        "timestamp": "2026-11-01T00:00:00Z",
        "data": {"total": "1.00"},
    }


def test_the_lines_that_the_documents_give_to_receivers_verify() -> None:
    block = re.search(r"```python\n(.*?)```", text_of("docs/how-to/receive-notices.md"), re.DOTALL)
    assert block is not None
    given: dict[str, Any] = {}
    exec(block[1], given)
    verify: Callable[[str, dict[str, str], bytes], bool] = given["verify"]
    headers = signed_headers([write_secret(bytes(32)), SECRET], "id", datetime.now(UTC), b"{}")
    assert verify(SECRET, headers, b"{}")
    assert not verify(SECRET, headers, b"{ }")
    assert not verify(write_secret(b"a" * 24), headers, b"{}")
    old = signed_headers([SECRET], "id", datetime(2026, 1, 1, tzinfo=UTC), b"{}")
    assert not verify(SECRET, old, b"{}")
