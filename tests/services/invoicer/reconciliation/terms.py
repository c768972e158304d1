"""Draws charges and discount schedules of every kind, as JSON holds them. Pure.

Bounds, sizes and quantities lie close together, so that they are hit exactly, and just missed.
"""

from typing import Any

from hypothesis import strategies as st

CODE = "executions"
AMOUNTS = st.decimals(0, 20, places=4).map(str)
PRICES = st.decimals(0, 5, places=12).map(str)
PERCENTS = st.decimals(0, 100, places=3).map(str)
HALVES = st.integers(0, 60).map(lambda number: str(number / 2))
QUANTITIES = st.one_of(HALVES, st.decimals(0, 10**12, places=12).map(str))
BOUNDS = st.sets(st.integers(1, 50), max_size=4).map(
    lambda halves: [*(str(half / 2) for half in sorted(halves)), None]
)


@st.composite
def _tiers(draw: st.DrawFn, name: str, values: st.SearchStrategy[str]) -> list[dict[str, Any]]:
    return [{"up_to": bound, name: draw(values)} for bound in draw(BOUNDS)]


@st.composite
def charges(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a charge of any model, with any of what can go with it."""
    shape = draw(st.sampled_from(["unit", "graduated", "volume", "package", "flat", "recurring"]))
    charge: dict[str, Any] = {"code": CODE, "model": shape}
    if draw(st.booleans()):
        charge["discount_percent"] = draw(st.none() | PERCENTS)
    if shape in ("flat", "recurring"):
        return {**charge, "amount": draw(AMOUNTS)}
    charge["meter"] = CODE
    if draw(st.booleans()):
        charge["free_units"] = draw(HALVES)
    bounds = sorted(draw(st.lists(AMOUNTS, min_size=2, max_size=2)), key=float)
    for name, bound in zip(("minimum_spend", "maximum_spend"), bounds, strict=True):
        if draw(st.booleans()):
            charge[name] = draw(st.just(bound) | st.none())
    if shape == "unit":
        return {**charge, "unit_price": draw(PRICES)}
    if shape == "package":
        size = draw(HALVES.filter(lambda half: half != "0.0"))
        return {**charge, "package_size": size, "package_price": draw(AMOUNTS)}
    tiers = draw(_tiers("unit_price", PRICES))
    for tier in tiers:
        if draw(st.booleans()):
            tier["flat_fee"] = draw(AMOUNTS)
    return {**charge, "tiers": tiers}


@st.composite
def schedules(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a schedule of either mode, mostly on the charge's code."""
    schedule: dict[str, Any] = {
        "charge": draw(st.sampled_from([CODE, CODE, CODE, "other"])),
        "tiers": draw(_tiers("percent_off", PERCENTS)),
    }
    mode = draw(st.sampled_from([None, "graduated", "volume"]))
    return schedule if mode is None else {**schedule, "mode": mode}
