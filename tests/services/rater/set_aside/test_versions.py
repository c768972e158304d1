"""What two versions of an event differ in."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.rater.set_aside.reasons import read_reason
from services.rater.set_aside.versions import Difference, Version, differences
from shared.errors import InvalidInputError

AT = datetime(2026, 10, 3, 12, tzinfo=UTC)
STORED = Version("job", "acme", AT, '{"a":1,"b":{"c":"x"}}', 0, 5, AT)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"b":{"c":"x"},"a":1}', []),
        ('{"a":1.0,"b":{"c":"x"}}', [Difference("/data/a", "1", "1.0")]),
        ('{"a":true,"b":{"c":"x"}}', [Difference("/data/a", "1", "true")]),
        ('{"b":{"c":"x"}}', [Difference("/data/a", "1", None)]),
        ('{"a":1,"b":{"c":null}}', [Difference("/data/b/c", '"x"', "null")]),
        ('{"a":1,"b":[1]}', [Difference("/data/b", '{"c":"x"}', "[1]")]),
        (
            '{"a":1,"b":{"c":"x"},"x/y~z":0.1234567890123456789}',
            [Difference("/data/x~1y~0z", None, "0.1234567890123456789")],
        ),
    ],
)
def test_every_place_that_differs_is_named(data: str, expected: list[Difference]) -> None:
    assert differences(STORED, replace(STORED, data=data)) == expected


def test_attributes_are_compared_but_not_where_the_versions_are() -> None:
    other = replace(STORED, customer_id="ada", type="task", partition=2, offset=9)
    assert [one.pointer for one in differences(STORED, other)] == ["/subject", "/type"]
    later = replace(STORED, time=datetime(2026, 10, 4, tzinfo=UTC))
    assert differences(STORED, later) == [
        Difference("/time", '"2026-10-03T12:00:00Z"', '"2026-10-04T00:00:00Z"')
    ]


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001, "a\0b"])
def test_a_reason_says_something(reason: str) -> None:
    with pytest.raises(InvalidInputError, match="say why"):
        read_reason(reason)
    assert read_reason(" it is so ") == "it is so"
