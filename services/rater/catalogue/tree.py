"""Reads YAML to plain values, and remembers on which line each stands. Pure.

Scalars keep the text that was written, digit for digit: ``0.002`` never passes through a
binary float.
"""

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import yaml

_TAG = "tag:yaml.org,2002:"
_MOST_VALUES = 100_000
"""A file with more, as aliases of aliases can make it, is a mistake."""


class Complaint(msgspec.Struct, frozen=True):
    """What is wrong with a catalogue file, and on which line (counted from 1)."""

    line: int
    place: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.place}: {self.message}"


@dataclass(slots=True)
class Tree:
    """The values of a file as dicts, lists and texts; `complaints` says what is wrong with it.

    A place such as ``plans.byok.charges[0].code`` names a value; `lines` has the line of each.
    """

    values: Any = None
    lines: dict[str, int] = field(default_factory=dict)
    complaints: list[Complaint] = field(default_factory=list)

    def line_of(self, place: str) -> int:
        """Give the line of a place, or of the nearest thing around it."""
        while place and place not in self.lines:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        return self.lines.get(place, 1)

    def complain(self, place: str, message: str) -> None:
        """Note what is wrong at a place."""
        self.complaints.append(Complaint(self.line_of(place), place or "file", message))


def read_tree(text: str) -> Tree:
    """Read one YAML document; faults of the writing are the tree's complaints."""
    tree = Tree()
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            tree.complain("", "is empty")
        else:
            tree.values = _value(node, "", tree, ())
    except yaml.YAMLError as error:
        tree.complaints.append(Complaint(_line_of_error(error, text), "file", _problem(error)))
    except RecursionError:
        tree.complain("", "is nested too deeply")
    return tree


def _line_of_error(error: yaml.YAMLError, text: str) -> int:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return int(error.problem_mark.line) + 1
    position = getattr(error, "position", 0)
    return text.count("\n", 0, position) + 1


def _problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        return error.problem or "is not YAML"
    return "holds a character that YAML does not allow"


def _value(node: yaml.Node, place: str, tree: Tree, around: tuple[yaml.Node, ...]) -> Any:
    tree.lines.setdefault(place, node.start_mark.line + 1)
    if any(node is one for one in around) or len(tree.lines) > _MOST_VALUES:
        message = "holds itself, or too many values"
        raise yaml.MarkedYAMLError(problem=message, problem_mark=node.start_mark)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, place, tree, (*around, node))
    if isinstance(node, yaml.SequenceNode):
        below = (*around, node)
        return [_value(one, f"{place}[{i}]", tree, below) for i, one in enumerate(node.value)]
    return _scalar(node, place, tree)


def _mapping(
    node: yaml.MappingNode, place: str, tree: Tree, around: tuple[yaml.Node, ...]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        below = f"{place}.{key}" if place else key
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            tree.complaints.append(Complaint(line, place or "file", "a key must be plain text"))
            continue
        if key_node.tag == f"{_TAG}merge":
            tree.complaints.append(Complaint(line, below, "is not read; write the fields out"))
            continue
        if key in values:
            tree.complaints.append(Complaint(line, below, "is written twice"))
        tree.lines.setdefault(below, line)
        values[key] = _value(value_node, below, tree, around)
    return values


def _scalar(node: yaml.Node, place: str, tree: Tree) -> str | None:
    text = str(node.value)
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        tree.complain(place, "holds a character that cannot be stored")
    if node.tag == f"{_TAG}null":
        return None
    if node.tag == f"{_TAG}bool" and text not in ("true", "false"):
        tree.complain(place, f"write true or false, or {text} in quotes")
    if node.tag in (f"{_TAG}float", f"{_TAG}int") and not _is_plain_number(text):
        tree.complain(place, f"write {text} as a plain decimal, such as 0.002")
    return text


def _is_plain_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite() and "e" not in text.lower()
    except InvalidOperation:
        return False
