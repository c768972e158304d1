"""What the audit command refuses, before it asks the database anything."""

from typing import Any

import pytest

from services.invoicer.auditing.commands import audit_command
from shared.errors import TallybookError


@pytest.mark.parametrize(
    ("given", "status", "word"),
    [
        ({"since": "yesterday"}, 2, "is no moment"),
        ({"verified": True, "since": "2026-10-01"}, 2, "leave out --since"),
        ({"verified": True, "before": 3}, 2, "leave out --since"),
        ({"noted": "ab"}, 2, "goes with --verify"),
        ({"verified": True, "noted": "ab"}, 1, "64 hexadecimal digits"),
        ({"verified": True, "noted": "g" * 64}, 1, "64 hexadecimal digits"),
    ],
)
def test_a_wrong_command_is_told(given: dict[str, Any], status: int, word: str) -> None:
    with pytest.raises(TallybookError, match=word) as caught:
        audit_command(**{"since": None, "before": None, "noted": None, **given})
    assert caught.value.exit_status == status
