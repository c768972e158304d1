"""An example says what a notice of its type says: what can read the one can read the other."""

import json
import re
from datetime import UTC, datetime
from typing import get_type_hints

import pytest

from services.invoicer.alerts.documents import ReachedDocument
from services.invoicer.notifying.outbox.examples import example
from services.invoicer.notifying.outbox.notices import TYPES, NoticeType
from services.invoicer.notifying.transport.letters import letter
from tests.house.repository import text_of

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def _documented(kind: NoticeType) -> set[str]:
    """Give the fields that the pages promise."""
    alerts = text_of("docs/how-to/alert-on-spend.md")
    if kind == "source.silent":
        sentence = alerts.split("The notice `source.silent` has the ")[1].split(".\n")[0]
        return set(re.findall(r"`(\w+)`", sentence))
    page = alerts if kind == "usage.threshold_reached" else text_of("docs/reference/notices.md")
    block = json.loads(re.findall(r"```json\n(.*?)```", page, re.DOTALL)[0])
    return set(block.get("data", block))


@pytest.mark.parametrize("kind", TYPES)
def test_it_has_the_fields_of_its_type_and_says_that_it_is_an_example(kind: NoticeType) -> None:
    found = example(kind, "example 1", NOW)
    assert (found.type, found.occurred_at) == (kind, NOW)
    assert set(found.data) == _documented(kind) | {"example"}
    assert found.data["example"] is True


def test_the_page_has_the_fields_of_a_threshold_that_was_reached() -> None:
    assert _documented("usage.threshold_reached") == set(get_type_hints(ReachedDocument))


def test_a_letter_of_one_reads_as_a_real_one_does() -> None:
    written = letter(
        example("usage.threshold_reached", "example 1", NOW),
        sender="tallybook@acme.example",
        mailbox="finance@acme.example",
    )
    assert written["Subject"] == (
        "Tallybook: customer example has reached a threshold: 80.00 of 80.00 USD"
    )
