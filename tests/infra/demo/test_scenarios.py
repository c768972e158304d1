"""The demo's expectations are the price page's own numbers, and its traffic is what it says."""

from fractions import Fraction

from infra.demo.scenarios import scenarios
from infra.demo.traffic import failed_executions, loads
from shared.periods import Period

PERIOD = Period(2026, 10)

FEES_IN_CENTS = {
    "solo": (800, 4_000, 8_000, 40_000, 80_000),
    "basic": (1_200, 6_000, 12_000, 60_000, 120_000),
    "byok": (200, 1_000, 2_000, 10_000, 20_000),
    "standard": (5_600, 28_000, 56_000, 280_000, 560_000),
    "premium": (8_960, 44_800, 89_600, 448_000, 896_000),
    "byok_pro": (2_000, 2_400, 2_900, 6_900, 11_900),
}
"""The page's monthly totals without the tokens, which are paid to their maker."""


def test_the_expected_amounts_are_those_of_the_page() -> None:
    made = scenarios(PERIOD, Fraction(1))
    for plan, expected in FEES_IN_CENTS.items():
        found = [
            one.expected_cents
            for one in made
            if one.plan == plan and one.stays[0].discount is None and len(one.stays) == 1
        ]
        assert tuple(found) == expected


def test_the_discount_and_the_switch() -> None:
    volume, switched = scenarios(PERIOD, Fraction(1))[-2:]
    assert volume.expected_cents == 10_000 + 9_000
    assert switched.expected_cents == 24_000 + 981 + 2_000  # $19 for 16 of 31 days


def test_every_execution_is_sent_once_beside_what_must_not_count() -> None:
    made = scenarios(PERIOD, Fraction(1, 100))
    sent = [load for load in loads(made, PERIOD, 100) if not load.resent]
    stays = [stay for one in made for stay in one.stays]
    assert sum(load.accepted for load in sent) == sum(
        stay.executions + failed_executions(stay.executions) for stay in stays
    )
    bodies = b"".join(load.body for load in sent)
    assert bodies.count(b'"failed"') >= sum(failed_executions(stay.executions) for stay in stays)
    assert sum(load.rejected for load in sent) == 3
