"""A letter is plain text that a person can read, and cannot be made to say more than it does."""

from email import message_from_bytes

import pytest

from services.invoicer.notifying.outbox.notices import TYPES
from services.invoicer.notifying.transport.letters import letter
from tests.services.invoicer.notifying.outbox.test_notices import notice

TO = {"sender": "tallybook@acme.example", "mailbox": "finance@acme.example"}


def test_it_says_what_happened_in_the_subject_and_what_is_known_in_the_text() -> None:
    data = {"customer": "acme", "total": "15.00", "currency": "USD", "due_at": None}
    written = letter(notice(data=data), **TO)
    assert written["Subject"] == "Tallybook: invoice inv_1 is paid: 15.00 USD"
    assert (written["To"], written["From"]) == (TO["mailbox"], TO["sender"])
    assert written.get_content_type() == "text/plain"
    assert written.get_content().splitlines() == [
        "invoice inv_1 is paid: 15.00 USD.",
        "",
        "happened: 01 November 2026, 00:00 UTC",
        "customer: acme",
        "total: 15.00",
        "currency: USD",
        f"notice: {notice().id}",
    ]


def test_a_threshold_says_which_and_what_the_month_has_come_to() -> None:
    for data, words in (
        (
            {"threshold": "80.00", "reached": "81.20", "currency": "USD", "meter": None},
            "81.20 of 80.00 USD",
        ),
        (
            {"threshold": "40000", "reached": "40001", "currency": None, "meter": "executions"},
            "40001 of 40000 executions",
        ),
    ):
        alert = notice(type="usage.threshold_reached", subject="acme", data=data)
        subject = letter(alert, **TO)["Subject"]
        assert subject == f"Tallybook: customer acme has reached a threshold: {words}"


def test_it_has_the_same_name_each_time_and_another_than_others() -> None:
    assert letter(notice(), **TO)["Message-ID"] == letter(notice(), **TO)["Message-ID"]
    assert letter(notice(), **TO)["Message-ID"] == f"<{notice().id}@acme.example>"
    assert letter(notice(key="inv_2"), **TO)["Message-ID"] != letter(notice(), **TO)["Message-ID"]


def test_a_sender_may_have_a_name() -> None:
    written = letter(notice(), sender="Tallybook <tallybook@acme.example>", mailbox="a@b.example")
    assert written["From"] == "Tallybook <tallybook@acme.example>"
    assert written["Message-ID"] == f"<{notice().id}@acme.example>"


def test_every_type_has_its_words() -> None:
    subjects = {letter(notice(type=one), **TO)["Subject"] for one in TYPES}
    assert len(subjects) == len(TYPES)


@pytest.mark.parametrize(
    "evil",
    [
        "shop\r\nBcc: other@evil.example\n\nhello",
        "=?utf-8?q?shop=0d=0aBcc=3a_other=40evil.example=0d=0a=0d=0ahello?=",
        "=?utf-8?b?c2hvcA0KQmNjOiBvdGhlckBldmlsLmV4YW1wbGUNCg0KaGVsbG8=?=hello",
    ],
)
def test_names_put_no_further_headers_or_lines_into_it(evil: str) -> None:
    written = letter(notice(type="source.silent", subject=evil, data={"source": evil}), **TO)
    assert set(written.keys()) == {
        "From", "To", "Subject", "Message-ID", "Date", "Auto-Submitted", "Content-Type",
        "Content-Transfer-Encoding", "MIME-Version",
    }  # fmt: skip
    sent = message_from_bytes(written.as_bytes())
    assert set(sent.keys()) == set(written.keys())
    assert not str(sent.get_payload()).startswith("hello")
    assert "hello" in written["Subject"]


def test_names_of_any_script_are_written_as_they_are() -> None:
    written = letter(notice(subject="Bücher ✓", data={"customer": "Bücher ✓"}), **TO)
    assert "Bücher ✓" in str(written["Subject"])
    assert written.as_bytes().isascii()
    assert "customer: Bücher ✓" in written.get_content()
