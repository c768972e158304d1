"""A notice names itself by type and key, and can be built of known types only."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from services.invoicer.notifying.outbox.invoices import invoice_notice
from services.invoicer.notifying.outbox.notices import TYPES, Notice
from tests.house.repository import text_of

MOMENT = datetime(2026, 11, 1, tzinfo=UTC)


def notice(**more: Any) -> Notice:
    given = {
        "type": "invoice.paid",
        "key": "inv_1",
        "subject": "inv_1",
        "occurred_at": MOMENT,
        "data": {},
    }
    return Notice(**{**given, **more})


def test_the_same_type_and_key_are_the_same_notice_whatever_else_it_says() -> None:
    assert notice().id == notice(data={"total": "1.00"}, subject="other").id
    assert notice().id.startswith("ntc_")
    others = {notice(type=one, key=key).id for one in TYPES for key in ("inv_1", "inv_2")}
    assert len(others) == 2 * len(TYPES)


@pytest.mark.parametrize(
    "wrong",
    [{"type": "invoice.sent"}, {"key": ""}, {"occurred_at": MOMENT.replace(tzinfo=None)}],
)
def test_what_is_no_notice_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"notice"):
        notice(**wrong)


def test_the_example_of_an_invoice_says_what_notices_of_invoices_say() -> None:
    blocks = re.findall(r"```json\n(.*?)```", text_of("docs/reference/notices.md"), re.DOTALL)
    examples = {one["type"]: one["data"] for one in map(json.loads, blocks)}
    row = {
        "id": "inv_1",
        "run_id": "run_2026-10",
        "customer_id": "acme",
        "period": "2026-10",
        "revision": 1,
        "total_minor": 153_000,
        "currency": "USD",
        "payload_sha256": "0" * 64,
    }
    data = invoice_notice("invoice.finalized", row, MOMENT).data
    assert list(examples["invoice.finalized"]) == list(data)
    assert examples["invoice.finalized"]["total"] == data["total"]


def test_every_type_is_explained_and_allowed_in_the_table() -> None:
    page = text_of("docs/reference/notices.md")
    schema = text_of("infra/migrations/versions/0001_whole_path.sql")
    for one in TYPES:
        assert f"| `{one}` |" in page
        assert f"'{one}'" in schema
