"""Stripe's form encoding: ``lines[0][period][start]=1`` to a tree of texts and back. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, Union
from urllib.parse import parse_qsl, urlencode

from infra.stripe_sandbox.errors import invalid

Tree = dict[str, Union[str, "Tree"]]
"""A decoded form. A list is a tree whose keys are its indexes, since the form alone can't tell
a list from metadata with numeric keys; what the operation takes decides."""

Value: TypeAlias = "str | int | bool | Mapping[str, Value] | Sequence[Value]"

_NAME = re.compile(r"[^\[\]]+(\[[^\[\]]*\])*")
_PART = re.compile(r"[^\[\]]+|\[\]")


def decode(form: str) -> Tree:
    """Decode a form or a query string; list entries may be written ``[0]`` or ``[]``.

    Raises `StripeApiError` for a malformed name, or one used both as a value and as a group.
    """
    tree: Tree = {}
    for name, value in parse_qsl(form, keep_blank_values=True):
        if not _NAME.fullmatch(name):
            raise invalid(f"Invalid parameter name: {name}", name)
        _put(tree, _PART.findall(name), value)
    return tree


def encode(values: Mapping[str, Value]) -> str:
    """Encode nested values; names must not hold brackets."""
    return urlencode([pair for name, value in values.items() for pair in _pairs(name, value)])


def entries(tree: Tree) -> list[str | Tree] | None:
    """Give a tree's entries in order if its keys are indexes, else None."""
    if not all(key.isascii() and key.isdecimal() for key in tree):
        return None
    return [tree[key] for key in sorted(tree, key=int)]


def _put(tree: Tree, path: Sequence[str], value: str) -> None:
    *groups, last = path
    for part in groups:
        below = tree.setdefault(_key(tree, part), {})
        if isinstance(below, str):
            raise invalid(f"Invalid object: {path[0]}", path[0])
        tree = below
    key = _key(tree, last)
    if isinstance(tree.get(key), dict):
        raise invalid(f"Invalid string: {path[0]}", path[0])
    tree[key] = value


def _key(tree: Tree, part: str) -> str:
    return str(len(tree)) if part == "[]" else part


def _pairs(name: str, value: Value) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _pairs(f"{name}[{key}]", below)
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    elif isinstance(value, str | int):
        yield name, str(value)
    else:
        for index, below in enumerate(value):
            yield from _pairs(f"{name}[{index}]", below)
