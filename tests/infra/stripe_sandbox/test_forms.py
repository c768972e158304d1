"""The bracket form encoding goes there and back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.stripe_sandbox.errors import StripeApiError
from infra.stripe_sandbox.forms import Value, decode, encode, entries

_NAMES = st.text(st.characters(exclude_characters="[]", exclude_categories=["Cs"]), min_size=1)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _TEXTS,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=12)
        | st.dictionaries(_NAMES, inner, min_size=1, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(_NAMES, _VALUES, max_size=4))
def test_what_is_encoded_is_decoded_again(values: dict[str, Any]) -> None:
    assert decode(encode(values)) == _indexed(values)


def _indexed(value: Any) -> Any:
    """Write lists as the tree of their indexes, which is all that a form can say."""
    if isinstance(value, list):
        return {str(index): _indexed(one) for index, one in enumerate(value)}
    if isinstance(value, dict):
        return {key: _indexed(one) for key, one in value.items()}
    return value


@pytest.mark.parametrize(
    ("form", "tree"),
    [
        ("", {}),
        ("discounts=", {"discounts": ""}),
        ("a[b][0][c]=1&a[b][1][c]=2", {"a": {"b": {"0": {"c": "1"}, "1": {"c": "2"}}}}),
        ("expand[]=x&expand[]=y", {"expand": {"0": "x", "1": "y"}}),
        ("metadata%5B7%5D=a+b%26c", {"metadata": {"7": "a b&c"}}),
    ],
)
def test_stripes_spellings(form: str, tree: dict[str, Any]) -> None:
    assert decode(form) == tree


@pytest.mark.parametrize("form", ["a[=1", "[a]=1", "a[b]c=1", "a=1&a[b]=2", "a[b]=2&a=1"])
def test_a_malformed_form_is_refused(form: str) -> None:
    with pytest.raises(StripeApiError):
        decode(form)


def test_values_are_written_as_the_sdk_writes_them() -> None:
    values: dict[str, Value] = {"auto_advance": False, "limit": 3}
    assert encode(values) == "auto_advance=false&limit=3"


def test_entries_are_in_the_order_of_their_indexes() -> None:
    assert entries({"10": "k", "2": "c"}) == ["c", "k"]
    assert entries({"first": "a"}) is None
