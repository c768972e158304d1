"""Reads a contract's own prices: charges that stand in the place of its plan's. Pure."""

from collections.abc import Sequence
from typing import Any

import msgspec

from services.rater.catalogue.document import InvalidCatalogueError, charge_faults, located
from services.rater.catalogue.tree import Tree, read_tree
from services.rater.pricing import Charge

_KEPT_ACROSS_MODELS = ("code", "meter")


class InvalidOverridesError(InvalidCatalogueError):
    """Overrides that cannot be used; no contract is made or changed."""

    code = "invalid_overrides"


def read_overrides(text: str, *, name: str, charges: Sequence[Charge]) -> list[Charge]:
    """Read overrides: by a charge's code, the fields that are other than the plan's.

    The text is YAML or JSON. With another `model` the charge is written whole, only its meter
    may be left out. Raises `InvalidOverridesError` with every complaint and its line.
    """
    tree = read_tree(text)
    found = [] if tree.complaints else list(_converted(tree, charges))
    for charge in found:
        for place, message in charge_faults(charge.code, charge):
            tree.complain(place, message)
    if tree.complaints:
        raise InvalidOverridesError(name, tree.complaints)
    return found


def _converted(tree: Tree, charges: Sequence[Charge]) -> list[Charge]:
    own = {charge.code: charge for charge in charges}
    if not isinstance(tree.values, dict) or not tree.values:
        tree.complain("", "must hold codes of charges, each with the fields that differ")
        return []
    found = []
    for code, fields in tree.values.items():
        if code not in own:
            tree.complain(code, f"the plan has no such charge; it has {', '.join(own)}")
        elif not isinstance(fields, dict):
            tree.complain(code, "must hold the fields that differ from the plan's")
        elif fields.get("code", code) != code:
            tree.complain(f"{code}.code", "a charge's code cannot be changed")
        else:
            try:
                merged = _merged(own[code], fields)
                found.append(msgspec.convert(merged, Charge, strict=False))
            except msgspec.ValidationError as error:
                tree.complain(*located(code, str(error)))
    return found


def _merged(charge: Charge, fields: dict[str, Any]) -> dict[str, Any]:
    base: dict[str, Any] = msgspec.to_builtins(charge)
    if fields.get("model", base["model"]) != base["model"]:
        base = {name: base[name] for name in _KEPT_ACROSS_MODELS if name in base}
    elif "unit_price" in fields:
        # What the plan's price is made of says nothing of another price.
        base["components"] = {}
    return {**base, **fields}
