"""A reconciliation written out: as JSON, as a page that needs nothing else, as CSV files."""

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

from services.invoicer.reconciliation import report
from services.invoicer.reconciliation.classify import reconcile
from tests.services.invoicer.reconciliation.figures import (
    EMPTY,
    month,
    ours,
    posted,
    stripe,
    theirs,
)

BROKEN = month(stripe=stripe(theirs(id="in_2", billing_key="<script>alert(1)</script>")))


def test_json_has_the_shape_that_was_promised() -> None:
    document = report.to_json(reconcile(month()))
    assert list(document) == ["period", "clean", "stages", "differences"]
    assert document["stages"][3] == {
        "from": "usage and fees by the plans (USD)",
        "to": "line items of the month",
        "count_from": "90",
        "count_to": "90",
        "amount_from": "1.8",
        "amount_to": "1.8",
    }
    assert document["differences"][0] == {
        "class": "duplicate",
        "severity": "info",
        "count": "2",
        "amount": "0",
        "ids": [],
    }


def test_every_number_is_a_decimal_string() -> None:
    document = report.to_json(reconcile(BROKEN))
    numbers = [
        value
        for stage in document["stages"]
        for name, value in stage.items()
        if name not in ("from", "to")
    ]
    numbers += [one["count"] for one in document["differences"]]
    numbers += [one["amount"] for one in document["differences"]]
    assert all(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", str(number)) for number in numbers)


class Page(HTMLParser):
    """Reads a page: its text, its open elements, and what it would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.open: list[str] = []
        self.loads: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag in ("script", "link", "img", "iframe"):
            self.loads.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    for figures in (month(), BROKEN, EMPTY):
        page = Page(report.to_html(reconcile(figures), figures))
        assert page.open == []
        assert page.loads == []


def test_the_page_says_whether_it_is_clean_and_why_not() -> None:
    assert "Clean: no difference is critical." in report.to_html(reconcile(month()), month())
    page = report.to_html(reconcile(BROKEN), BROKEN)
    assert "Not clean: 2 critical differences." in page
    assert "critical: missing_in_stripe" in page
    assert "critical: orphan_in_stripe" in page


def test_the_page_sets_each_invoice_beside_what_stripe_holds() -> None:
    text = " ".join(Page(report.to_html(reconcile(month()), month())).text)
    assert re.search(r"acme\s+inv_1\s+finalized\s+USD\s+1\.80\s+1\.80\s+in_1\s+open", text)
    text = " ".join(Page(report.to_html(reconcile(BROKEN), BROKEN)).text)
    assert re.search(r"acme\s+inv_1\s+finalized\s+USD\s+1\.80\s+none", text)


def test_what_others_wrote_is_shown_as_text() -> None:
    figures = month(invoices=[ours(customer_id="<script>alert(1)</script>")])
    page = report.to_html(reconcile(figures), figures)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_csv_files_hold_stages_and_differences(tmp_path: Path) -> None:
    figures = month(posted=[posted(uninvoiced=0, misplaced_ids=[4, 5])])
    report.write_csv(reconcile(figures), tmp_path / "books")
    with (tmp_path / "books" / "stages.csv").open(newline="") as file:
        stages = list(csv.DictReader(file))
    assert stages[0]["from"] == "log"
    assert stages[0]["count_from"] == "100"
    with (tmp_path / "books" / "differences.csv").open(newline="") as file:
        differences = list(csv.DictReader(file))
    assert [row["class"] for row in differences] == ["misplaced", "duplicate", "not_billable"]
    assert differences[0]["ids"] == "4 5"
