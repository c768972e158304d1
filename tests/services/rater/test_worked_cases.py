"""Worked cases that others have published, with their source; and the edges of our own rules.

Each source's terms are written as ours, and its quantities must cost what it says. Where a
source decides otherwise than Tallybook, its answer stands beside ours in `OTHERWISE`.
"""

from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pytest

from services.rater.pricing import Charge, Coverage, price, total
from shared.money import round_to_minor
from tests.services.rater.factories import WHOLE

STRIPE = "https://docs.stripe.com/subscriptions/pricing-models/tiered-pricing"
STRIPE_BEFORE = "https://stripe.com/docs/billing/subscriptions/tiers"
STRIPE_USERS = "https://stripe.com/docs/billing/subscriptions/quantity-transformation"
STRIPE_CARS = "https://docs.stripe.com/billing/subscriptions/usage-based/transform-quantities"
STRIPE_SWITCH = "https://docs.stripe.com/billing/subscriptions/prorations"
LAGO = "https://getlago.com/docs/guide"
LAGO_VOLUME = f"{LAGO}/plans/charges/charge-models/volume"
LAGO_PACKAGE = f"{LAGO}/plans/charges/charge-models/package"
LAGO_MINIMUM = f"{LAGO}/plans/charges/spending-minimum"
LAGO_CONTRACT = f"{LAGO}/lago-cloud/contract-billing"
LAGO_MODELS = "github.com/getlago/lago-api spec/services/charges/charge_models"
LAGO_TRUE_UP = "github.com/getlago/lago-api spec/services/fees/create_true_up_service_spec.rb"
OPENMETER = "github.com/openmeterio/openmeter openmeter/billing/rating/service/rate"
OPENMETER_DOCS = "https://openmeter.io/docs/billing/product-catalog/pricing-models"
ZUPLO = "https://zuplo.com/docs/articles/monetization/pricing-models"
OURS = "the rules of this project"


class Worked(NamedTuple):
    """A price and what some quantities cost at it."""

    source: str
    terms: dict[str, Any]
    costs: dict[str, str]
    coverage: Coverage = WHOLE


def tiered(model: str, *tiers: tuple[str | None, str, str], **more: str) -> dict[str, Any]:
    """Write tiers of upper bound, unit price and flat fee."""
    rows = [
        {"up_to": bound, "unit_price": unit_price, "flat_fee": flat_fee}
        for bound, unit_price, flat_fee in tiers
    ]
    return {"model": model, "tiers": rows, **more}


def unit(unit_price: str, **more: str) -> dict[str, Any]:
    return {"model": "unit", "unit_price": unit_price, **more}


def package(size: str, cost: str, **more: str) -> dict[str, Any]:
    return {"model": "package", "package_size": size, "package_price": cost, **more}


def days(covered: range, of: int) -> Coverage:
    return Coverage(covered, of)


FONTS = (("5", "7", "0"), ("10", "6.5", "0"), (None, "6", "0"))
FIVES = (("5", "5", "0"), ("10", "4", "0"), ("15", "3", "0"), ("20", "2", "0"), (None, "1", "0"))
LAGO_GRADUATED = (("10", "10", "2"), ("20", "5", "3"), (None, "5", "3"))
LAGO_VOLUMES = (("100", "2", "10"), ("200", "1", "0"), (None, "0.5", "50"))
LAGO_CALLS = (
    ("10000", "0.0010", "10"),
    ("50000", "0.0008", "10"),
    ("100000", "0.0006", "10"),
    (None, "0.0004", "10"),
)
METER_TOTALS = (("5", "0", "100"), ("10", "0", "50"), ("15", "10", "0"), (None, "5", "0"))
METER_GRADUATED = (("5", "0", "100"), ("10", "0", "50"), ("15", "5", "0"), (None, "1", "0"))
METER_VOLUME = (("5", "0", "100"), ("10", "0", "150"), ("15", "10", "0"), (None, "5", "0"))
ZUPLO_CALLS = (("1000", "0.10", "0"), ("10000", "0.05", "0"), (None, "0.01", "0"))

PUBLISHED = [
    # Stripe
    Worked(
        STRIPE,
        tiered("volume", *FONTS),
        {"1": "7", "5": "35", "6": "39", "20": "120", "25": "150"},
    ),
    Worked(STRIPE, tiered("graduated", *FONTS), {"5": "35"}),
    Worked(STRIPE_BEFORE, unit("5"), {"1": "5", "5": "25", "6": "30", "20": "100", "25": "125"}),
    Worked(
        STRIPE_BEFORE,
        tiered("volume", *FIVES),
        {"1": "5", "5": "25", "6": "24", "20": "40", "25": "25"},
    ),
    Worked(STRIPE_BEFORE, tiered("graduated", *FIVES), {"6": "29"}),
    Worked(
        STRIPE_USERS, package("5", "10"), {"1": "10", "3": "10", "5": "10", "6": "20", "7": "20"}
    ),
    Worked(STRIPE_CARS, package("60", "10"), {"150": "30"}),
    # A switch halfway. Stripe prorates by the second, we by the day; halfway is both's half.
    Worked(
        STRIPE_SWITCH, {"model": "recurring", "amount": "10"}, {"0": "5"}, days(range(1, 16), 30)
    ),
    Worked(
        STRIPE_SWITCH, {"model": "recurring", "amount": "20"}, {"0": "10"}, days(range(16, 31), 30)
    ),
    # Lago
    Worked(
        f"{LAGO_MODELS}/graduated_service_spec.rb",
        tiered("graduated", *LAGO_GRADUATED),
        {"1": "12", "10": "102", "11": "110", "12": "115", "21": "163"},
    ),
    Worked(
        f"{LAGO_MODELS}/volume_service_spec.rb",
        tiered("volume", *LAGO_VOLUMES),
        {"1": "12", "100": "210", "100.5": "100.5", "101": "101", "200": "200", "300": "200"},
    ),
    Worked(LAGO_VOLUME, tiered("volume", *LAGO_CALLS), {"65000": "49"}),
    Worked(f"{LAGO_MODELS}/package_service_spec.rb", package("10", "100"), {"121": "1300"}),
    Worked(
        f"{LAGO_MODELS}/package_service_spec.rb",
        package("10", "100", free_units="10"),
        {"121": "1200"},
    ),
    Worked(
        f"{LAGO_MODELS}/package_service_spec.rb",
        package("10", "100", free_units="200"),
        {"121": "0"},
    ),
    Worked(LAGO_PACKAGE, package("100", "5", free_units="100"), {"201": "10"}),
    Worked(LAGO_MINIMUM, unit("0.010", minimum_spend="100"), {"5000": "100"}),
    Worked(LAGO_TRUE_UP, unit("1", minimum_spend="10"), {"7": "10", "15": "15"}),
    Worked(LAGO_CONTRACT, unit("1", minimum_spend="1000"), {"800": "1000", "1300": "1300"}),
    # OpenMeter
    Worked(OPENMETER_DOCS, unit("0.01"), {"10000": "100"}),
    Worked(
        f"{OPENMETER}/tieredgraduated_test.go",
        tiered("graduated", *METER_TOTALS),
        {"0": "100", "3": "100", "5": "100", "5.001": "150", "7": "150", "12": "170", "22": "235"},
    ),
    Worked(
        f"{OPENMETER}/tieredgraduated_test.go", tiered("graduated", *METER_GRADUATED), {"22": "182"}
    ),
    Worked(
        f"{OPENMETER}/tieredgraduated_test.go",
        tiered("graduated", *METER_GRADUATED, minimum_spend="1000"),
        {"0": "1000", "2": "1000"},
    ),
    Worked(
        f"{OPENMETER}/tieredgraduated_test.go",
        tiered("graduated", *METER_GRADUATED, maximum_spend="170"),
        {"12": "160", "22": "170"},
    ),
    Worked(
        f"{OPENMETER}/tieredvolume_test.go",
        tiered("volume", *METER_VOLUME),
        {"0": "100", "3": "100", "5": "100", "14": "140", "15": "150", "16": "80", "100": "500"},
    ),
    Worked(
        f"{OPENMETER}/tieredvolume_test.go",
        tiered("volume", *METER_VOLUME, minimum_spend="150"),
        {"0": "150", "5": "150"},
    ),
    Worked(
        f"{OPENMETER}/tieredvolume_test.go",
        tiered("volume", *METER_VOLUME, minimum_spend="100"),
        {"5": "100", "100": "500"},
    ),
    Worked(
        f"{OPENMETER}/tieredvolume_test.go",
        tiered("volume", *METER_VOLUME, maximum_spend="125"),
        {"5": "100", "7": "125"},
    ),
    Worked(
        f"{OPENMETER}/package_test.go",
        package("10", "15"),
        {"0": "0", "1": "15", "5": "15", "9": "15", "10": "15", "11": "30", "22": "45"},
    ),
    Worked(f"{OPENMETER}/package_test.go", package("10", "15", minimum_spend="100"), {"0": "100"}),
    Worked(
        f"{OPENMETER}/package_test.go",
        package("10", "15", maximum_spend="100"),
        {"10": "15", "60": "90", "110": "100"},
    ),
    Worked(f"{OPENMETER}/unit_test.go", unit("100"), {"0": "0", "10": "1000"}),
    Worked(f"{OPENMETER}/unit_test.go", unit("10", minimum_spend="100"), {"0": "100"}),
    Worked(
        f"{OPENMETER}/unit_test.go", unit("10", maximum_spend="100"), {"10": "100", "12": "100"}
    ),
    # The discount comes before the maximum: 27 units are 270, half of it 135, at most 100.
    Worked(
        f"{OPENMETER}/unit_test.go",
        unit("10", discount_percent="50", maximum_spend="100"),
        {"7": "35", "27": "100"},
    ),
    # Zuplo, which prices with OpenMeter's shapes
    Worked(ZUPLO, unit("0.001"), {"100000": "100"}),
    Worked(ZUPLO, tiered("graduated", *ZUPLO_CALLS), {"15000": "600"}),
    Worked(ZUPLO, tiered("volume", *ZUPLO_CALLS), {"15000": "150"}),
]

EDGES = [
    # Bounds hit exactly, one above, a fraction above; and no usage.
    Worked(
        OURS,
        tiered("graduated", ("50000", "0.002", "0"), (None, "0.0018", "0")),
        {
            "0": "0",
            "0.5": "0.001",
            "49999.5": "99.999",
            "50000": "100",
            "50000.000000000001": "100.0000000000000018",
            "50001": "100.0018",
            "100000": "190",
        },
    ),
    Worked(
        OURS,
        tiered("volume", ("50000", "0.002", "7"), (None, "0.0018", "9")),
        {"0": "7", "50000": "107", "50000.5": "99.0009", "50001": "99.0018", "100000": "189"},
    ),
    # Prices to seven and twelve places, quantities to 10^9 and 10^12.
    Worked(
        OURS, unit("0.0000001"), {"1": "0.0000001", "1000000000": "100", "999999999": "99.9999999"}
    ),
    Worked(
        OURS,
        unit("0.000000000001"),
        {"1000000000000": "1", "0.000000000001": "0.000000000000000000000001"},
    ),
    Worked(
        OURS,
        tiered("graduated", ("1000000000", "0.0000001", "0"), (None, "0.00000005", "0.01")),
        {"1000000000": "100", "1000000001": "100.01000005", "3000000000": "200.01"},
    ),
    Worked(OURS, package("1000000", "0.1"), {"1000000000": "100", "1000000000.000001": "100.1"}),
    Worked(OURS, package("0.5", "1"), {"0": "0", "0.5": "1", "0.500000000001": "2", "1.5": "3"}),
    # Free units come off first: the tiers and packages begin after them.
    Worked(
        OURS,
        tiered("graduated", ("10", "1", "5"), (None, "0.5", "3"), free_units="10"),
        {"0": "5", "10": "5", "10.5": "5.5", "20": "15", "20.1": "18.05"},
    ),
    # Discount, then minimum, then maximum.
    Worked(
        OURS,
        unit("1", discount_percent="10", minimum_spend="95", maximum_spend="120"),
        {"0": "95", "100": "95", "105.5": "95", "106": "95.4", "133": "119.7", "134": "120"},
    ),
    Worked(
        OURS, tiered("graduated", (None, "1", "20"), discount_percent="50"), {"0": "10", "10": "15"}
    ),
    Worked(OURS, unit("1", discount_percent="100", minimum_spend="5"), {"0": "5", "100": "5"}),
    # In mid-month: a minimum prorates by days, a maximum, a flat fee and usage do not.
    Worked(
        OURS,
        unit("1", minimum_spend="31"),
        {"0": "16", "16": "16", "17": "17"},
        days(range(16, 32), 31),
    ),
    Worked(OURS, unit("1", minimum_spend="100"), {"0": "51.612903225806"}, days(range(16, 32), 31)),
    Worked(OURS, unit("1", minimum_spend="100"), {"0": "3.571428571429"}, days(range(28, 29), 28)),
    Worked(OURS, unit("1", minimum_spend="100"), {"0": "0", "3": "3"}, days(range(1, 1), 31)),
    Worked(OURS, unit("1", maximum_spend="10"), {"9": "9", "11": "10"}, days(range(31, 32), 31)),
    Worked(OURS, tiered("graduated", (None, "1", "20")), {"0": "20"}, days(range(31, 32), 31)),
    Worked(OURS, {"model": "flat", "amount": "31"}, {"0": "31"}, days(range(31, 32), 31)),
    Worked(OURS, {"model": "flat", "amount": "31"}, {"0": "0"}, days(range(1, 1), 31)),
    Worked(OURS, {"model": "recurring", "amount": "31"}, {"0": "1"}, days(range(31, 32), 31)),
    Worked(
        OURS,
        {"model": "recurring", "amount": "19.00", "discount_percent": "50"},
        {"0": "4.9032258064515"},
        days(range(16, 32), 31),
    ),
]


def charge_of(worked: Worked) -> Charge:
    """Read the terms as the catalogue's are read."""
    meter = {} if "amount" in worked.terms else {"meter": "units"}
    terms = {"code": "charge", **meter, **worked.terms}
    charge: Charge = msgspec.convert(terms, Charge, strict=False)
    return charge


def priced(worked: Worked, quantity: str) -> Decimal:
    return total(price(charge_of(worked), Decimal(quantity), worked.coverage))


def each(cases: list[Worked]) -> list[Any]:
    """Give every quantity of every case."""
    return [
        pytest.param(worked, quantity, cost, id=f"{place}-{worked.terms['model']}-{quantity}")
        for place, worked in enumerate(cases)
        for quantity, cost in worked.costs.items()
    ]


@pytest.mark.parametrize(("worked", "quantity", "cost"), each(PUBLISHED))
def test_what_others_have_published(worked: Worked, quantity: str, cost: str) -> None:
    assert priced(worked, quantity) == Decimal(cost), worked.source


@pytest.mark.parametrize(("worked", "quantity", "cost"), each(EDGES))
def test_the_edges_of_our_own_rules(worked: Worked, quantity: str, cost: str) -> None:
    assert priced(worked, quantity) == Decimal(cost)


class Otherwise(NamedTuple):
    """A case in which a source says something else than we do, and why."""

    source: str
    why: str
    terms: dict[str, Any]
    quantity: str
    theirs: str
    ours: str


OTHERWISE = [
    Otherwise(
        f"{LAGO_MODELS}/graduated_service_spec.rb",
        "Lago charges no flat fee without usage; Tallybook, like OpenMeter, the first tier's",
        tiered("graduated", *LAGO_GRADUATED),
        "0",
        "0",
        "2",
    ),
    Otherwise(
        f"{LAGO_MODELS}/volume_service_spec.rb",
        "Lago charges no flat fee without usage; Tallybook, like OpenMeter, the first tier's",
        tiered("volume", *LAGO_VOLUMES),
        "0",
        "0",
        "10",
    ),
    Otherwise(
        LAGO_CONTRACT,
        "Lago reaches the minimum before discounts: of 1,000 then 10 % off is 900; Tallybook"
        " discounts first and then makes up the whole minimum",
        unit("1", minimum_spend="1000", discount_percent="10"),
        "800",
        "900",
        "1000",
    ),
]


@pytest.mark.parametrize("case", OTHERWISE, ids=lambda case: case.terms["model"])
def test_where_we_decide_otherwise(case: Otherwise) -> None:
    ours = priced(Worked(case.source, case.terms, {}), case.quantity)
    assert ours == Decimal(case.ours) != Decimal(case.theirs), case.why


def test_a_billion_of_the_smallest_price_are_a_hundred_dollars_on_the_invoice() -> None:
    worked = Worked(OURS, unit("0.0000001"), {})
    assert round_to_minor(priced(worked, "1000000000"), "USD") == 100_00
    assert round_to_minor(priced(worked, "49999"), "USD") == 0
    assert round_to_minor(priced(worked, "50000"), "USD") == 1
