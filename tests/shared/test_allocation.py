"""A rounded amount is shared out by weights, and nothing of it is lost."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.money import allocate

WEIGHTS = st.lists(st.decimals(0, 10**12, allow_nan=False, places=12), min_size=1, max_size=8)


@given(st.integers(-(10**15), 10**15), WEIGHTS)
@example(1, [Decimal(0)] * 3)
@example(-7, [Decimal("0.0005"), Decimal("0.0003"), Decimal("0.0007"), Decimal("0.0005")])
def test_the_parts_add_up_to_the_whole(minor: int, weights: list[Decimal]) -> None:
    assert sum(allocate(minor, weights)) == minor


@given(st.integers(0, 10**15), WEIGHTS.filter(any))
def test_no_part_is_a_whole_unit_from_what_it_is_due(minor: int, weights: list[Decimal]) -> None:
    whole = sum(map(Fraction, weights))
    for share, weight in zip(allocate(minor, weights), weights, strict=True):
        assert abs(share - minor * Fraction(weight) / whole) < 1


@given(st.integers(0, 10**15), WEIGHTS)
def test_a_credit_is_shared_as_its_charge_was(minor: int, weights: list[Decimal]) -> None:
    assert allocate(-minor, weights) == [-share for share in allocate(minor, weights)]


@given(st.integers(0, 10**15), WEIGHTS)
def test_a_weight_of_nothing_gets_nothing_beside_others(minor: int, weights: list[Decimal]) -> None:
    assert allocate(minor, [*weights, Decimal(0)])[-1] == 0 or not any(weights)


@pytest.mark.parametrize(
    ("minor", "weights", "shares"),
    [
        (100, ["0.0005", "0.0003", "0.0007", "0.0005"], [25, 15, 35, 25]),
        (1, ["0.0005", "0.0003", "0.0007", "0.0005"], [0, 0, 1, 0]),
        (2, ["1", "1", "1"], [1, 1, 0]),
        (100, ["1", "1", "1"], [34, 33, 33]),
        (-100, ["1", "1", "1"], [-34, -33, -33]),
        (101, ["50", "25", "25"], [51, 25, 25]),
        (5, ["0", "0"], [3, 2]),
        (5, ["1E+3", "0.001"], [5, 0]),
        (0, ["1", "2"], [0, 0]),
    ],
)
def test_who_lost_most_gets_what_is_left_the_first_of_equals(
    minor: int, weights: list[str], shares: list[int]
) -> None:
    assert allocate(minor, [Decimal(weight) for weight in weights]) == shares


@pytest.mark.parametrize("weights", [[], [Decimal(1), Decimal(-1)]])
def test_there_are_weights_and_none_is_negative(weights: list[Decimal]) -> None:
    with pytest.raises(ValueError, match="weights, of 0 or more"):
        allocate(1, weights)
