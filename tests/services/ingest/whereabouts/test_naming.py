"""Which event a path names: each part is percent-encoded, and may hold what a path may not."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.whereabouts.naming import event_of_path
from shared.errors import InvalidInputError

NAMES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)


@given(NAMES, NAMES)
def test_whatever_is_encoded_comes_back(source: str, event_id: str) -> None:
    path = f"/v1/events/{quote(source, safe='')}/{quote(event_id, safe='')}"
    assert event_of_path(path.encode()) == (source, event_id)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/events/agents/shop/1",
        "/v1/events/a/",
        "/v1/events//1",
        "/v1/events/%FF/1",
        "/v1/events/a",
    ],
)
def test_a_path_that_names_no_event(path: str) -> None:
    with pytest.raises(InvalidInputError):
        event_of_path(path.encode())


def test_a_nul_is_refused_before_postgres_would() -> None:
    with pytest.raises(InvalidInputError, match="NUL"):
        event_of_path(b"/v1/events/a/b%00")
