"""Causes put into a right month's figures, each with the one difference that it makes. Pure."""

from decimal import Decimal

from services.invoicer.reconciliation.figures import (
    Figures,
    MonthEvents,
    OurCredit,
    SetAside,
    TheirCredit,
)
from tests.services.invoicer.reconciliation.figures import (
    carried,
    charge,
    line,
    month,
    ours,
    partition,
    posted,
    stripe,
    theirs,
    with_carried,
)

CRITICAL: dict[str, tuple[Figures, str, str, str]] = {
    "records never handled, between handled ones": (
        month(log=[partition(span=95, records=95, stored=93, rows=93)]),
        "lost",
        "5",
        "0",
    ),
    "books ahead of the log": (month(log=[partition(end=90)]), "log_truncated", "-10", "0"),
    "events gone from the table": (month(log=[partition(rows=95)]), "lost", "3", "0"),
    "events that nobody stored": (month(log=[partition(rows=99)]), "orphan_event", "-1", "0"),
    "usage that was not posted": (
        month(charges=[charge(event_quantity=Decimal(91), expected=Decimal("1.82"))]),
        "lost",
        "1",
        "0.02",
    ),
    "usage that was posted twice": (
        month(charges=[charge(event_quantity=Decimal(80), expected=Decimal("1.6"))]),
        "billed_twice",
        "-10",
        "-0.2",
    ),
    "usage at a wrong price": (
        month(charges=[charge(expected=Decimal("1.9"))]),
        "amount_mismatch",
        "0",
        "0.1",
    ),
    "line items of a charge that the contract does not have": (
        month(
            charges=[
                charge(),
                charge(event_quantity=Decimal(0), expected=Decimal(0), planned=False),
            ]
        ),
        "orphan_line_item",
        "-90",
        "-1.8",
    ),
    "a line item on no invoice": (
        month(
            posted=[
                posted(
                    used_items=4,
                    used_amount=Decimal(2),
                    items=4,
                    amount=Decimal(2),
                    uninvoiced=1,
                    uninvoiced_amount=Decimal("0.2"),
                    uninvoiced_ids=[7],
                )
            ]
        ),
        "uninvoiced",
        "1",
        "0.2",
    ),
    "a line item on another's invoice": (
        month(
            posted=[
                posted(
                    used_items=4,
                    used_amount=Decimal(2),
                    items=4,
                    amount=Decimal(2),
                    misplaced=1,
                    misplaced_amount=Decimal("0.2"),
                    misplaced_ids=[7],
                )
            ]
        ),
        "misplaced",
        "1",
        "0.2",
    ),
    "a line that is not the sum of its line items": (
        month(
            invoices=[
                ours(
                    total_minor=150,
                    lines=[line(exact_amount=Decimal("1.5"), amount_minor=150)],
                )
            ],
            stripe=stripe(
                theirs(subtotal_minor=150, total_minor=150, lines=[("1", "90 executions", 150)])
            ),
        ),
        "amount_mismatch",
        "0",
        "0.3",
    ),
    "line items that no line shows, though they come to something": (
        month(
            posted=[posted(used_items=4, used_amount=Decimal(2), items=4, amount=Decimal(2))],
            invoices=[ours(hidden_items=1, hidden_amount=Decimal("0.2"))],
        ),
        "not_shown",
        "0",
        "0.2",
    ),
    "a line of an amount that no earlier invoice left": (
        month(
            invoices=[ours(total_minor=200, lines=[line(), carried(carried_minor=None)])],
            stripe=stripe(with_carried()),
        ),
        "orphan_invoice_line",
        "0",
        "-0.2",
    ),
    "a line that was rounded wrongly": (
        month(
            invoices=[ours(total_minor=181, lines=[line(amount_minor=181)])],
            stripe=stripe(
                theirs(subtotal_minor=181, total_minor=181, lines=[("1", "90 executions", 181)])
            ),
        ),
        "wrong_rounding",
        "0",
        "-0.01",
    ),
    "a total that is not the sum of its lines": (
        month(
            invoices=[ours(total_minor=200)],
            stripe=stripe(theirs(subtotal_minor=200, total_minor=200)),
        ),
        "total_mismatch",
        "0",
        "-0.2",
    ),
    "an invoice deleted at Stripe": (month(stripe=stripe()), "missing_in_stripe", "1", "1.8"),
    "an invoice that never came to Stripe": (
        month(invoices=[ours(stripe_invoice_id=None, state="needs_review")], stripe=stripe()),
        "not_sent",
        "1",
        "1.8",
    ),
    "an invoice at Stripe that says it is ours": (
        month(stripe=stripe(theirs(), theirs(id="in_2", billing_key="bob:2026-10"))),
        "orphan_in_stripe",
        "-1",
        "-1.8",
    ),
    "a second invoice at Stripe of the same key": (
        month(stripe=stripe(theirs(id="in_2"), theirs())),
        "duplicate_in_stripe",
        "-1",
        "-1.8",
    ),
    "an orphan in a currency that nothing of ours is in": (
        month(stripe=stripe(theirs(), theirs(id="in_2", billing_key="b", currency="EUR"))),
        "orphan_in_stripe",
        "-1",
        "-1.8",
    ),
    "an orphan in a currency that nobody knows": (
        month(stripe=stripe(theirs(), theirs(id="in_2", billing_key="b", currency="XXX"))),
        "orphan_in_stripe",
        "-1",
        "-180",
    ),
    "tax or a discount at Stripe": (
        month(stripe=stripe(theirs(total_minor=214))),
        "tax_or_discount",
        "0",
        "0",
    ),
    "a line changed at Stripe": (
        month(stripe=stripe(theirs(lines=[("1", "something else", 180)]))),
        "line_mismatch",
        "0",
        "0",
    ),
    "another payload at Stripe": (
        month(stripe=stripe(theirs(payload_sha256=None))),
        "metadata_hash_mismatch",
        "0",
        "0",
    ),
    "a billing key that was taken off at Stripe": (
        month(stripe=stripe(theirs(billing_key=None))),
        "billing_key_mismatch",
        "0",
        "0",
    ),
    "an id that is not noted here": (
        month(invoices=[ours(stripe_invoice_id="in_9")]),
        "id_mismatch",
        "0",
        "0",
    ),
    "a draft that was never finalized": (
        month(stripe=stripe(theirs(status="draft"))),
        "stuck_draft",
        "0",
        "0",
    ),
    "a credit that was cut short": (
        month(credits=[OurCredit("crd_1", "USD", 20, False, None)]),
        "credit_not_issued",
        "1",
        "0.20",
    ),
    "a credit that Stripe does not have": (
        month(credits=[OurCredit("crd_1", "USD", 20, True, "cn_1")]),
        "credit_missing_in_stripe",
        "1",
        "0.20",
    ),
    "a credit whose credit note was voided at Stripe": (
        month(
            credits=[OurCredit("crd_1", "USD", 20, True, "cn_1")],
            stripe=stripe(theirs(), credits=[TheirCredit("cn_1", "crd_1", "USD", 20, True)]),
        ),
        "credit_void_in_stripe",
        "1",
        "0.20",
    ),
    "a credit that was cut short, and its credit note voided": (
        month(
            credits=[OurCredit("crd_1", "USD", 20, False, None)],
            stripe=stripe(theirs(), credits=[TheirCredit("cn_1", "crd_1", "USD", 20, True)]),
        ),
        "credit_not_issued",
        "1",
        "0.20",
    ),
    "a credit note that nobody here knows": (
        month(stripe=stripe(theirs(), credits=[TheirCredit("cn_1", None, "USD", 20)])),
        "credit_orphan_in_stripe",
        "-1",
        "-0.20",
    ),
    "a credit note over another amount": (
        month(
            credits=[OurCredit("crd_1", "USD", 20, True, "cn_1")],
            stripe=stripe(theirs(), credits=[TheirCredit("cn_1", "crd_1", "USD", 25)]),
        ),
        "credit_mismatch",
        "0",
        "-0.05",
    ),
    "a credit note whose making was never answered": (
        month(
            credits=[OurCredit("crd_1", "USD", 20, False, None)],
            stripe=stripe(theirs(), credits=[TheirCredit("cn_1", "crd_1", "USD", 20)]),
        ),
        "credit_not_noted",
        "0",
        "0",
    ),
    "two credit notes of one credit": (
        month(
            credits=[OurCredit("crd_1", "USD", 20, True, "cn_1")],
            stripe=stripe(
                theirs(),
                credits=[TheirCredit(one, "crd_1", "USD", 20) for one in ("cn_1", "cn_2")],
            ),
        ),
        "duplicate_credit_in_stripe",
        "-1",
        "-0.20",
    ),
    "an invoice voided at Stripe": (
        month(stripe=stripe(theirs(status="void"))),
        "status_drift",
        "0",
        "0",
    ),
    "an open invoice at Stripe of which the books say that it failed": (
        month(invoices=[ours(state="failed_retryable")]),
        "status_drift",
        "0",
        "0",
    ),
}


NOT_CRITICAL: dict[str, tuple[Figures, str, str, str]] = {
    "records that are still to be handled": (
        month(log=[partition(end=110)]),
        "in_flight",
        "warning",
        "10",
    ),
    "a partition that the rater has not come to": (
        month(
            log=[
                partition(),
                partition(
                    partition=1, end=5, next=0, span=0, records=0, stored=0, duplicates=0, rows=0
                ),
            ]
        ),
        "in_flight",
        "warning",
        "5",
    ),
    "an amount that an earlier invoice left": (
        month(
            invoices=[ours(total_minor=200, lines=[line(), carried()])],
            stripe=stripe(with_carried()),
        ),
        "taken_up",
        "info",
        "0",
    ),
    "another version of an event": (
        month(log=[partition(duplicates=1, conflicts=1)], set_aside=SetAside(conflicts=["a 1"])),
        "conflict",
        "warning",
        "1",
    ),
    "a record that is no event": (
        month(
            log=[partition(duplicates=1, dead_letters=1)],
            set_aside=SetAside(open_dead_letters=["5"]),
        ),
        "dead_letter",
        "warning",
        "1",
    ),
    "a record that was no event, written to the log again": (
        month(
            log=[partition(duplicates=1, dead_letters=1)],
            set_aside=SetAside(closed_dead_letters={"replayed": 1}),
        ),
        "dead_letter_replayed",
        "info",
        "1",
    ),
    "a record that was no event, and is not to be one": (
        month(
            log=[partition(duplicates=1, dead_letters=1)],
            set_aside=SetAside(closed_dead_letters={"discarded": 1}),
        ),
        "dead_letter_discarded",
        "info",
        "1",
    ),
    "another version of an event, on which somebody has decided": (
        month(log=[partition(duplicates=1, conflicts=1)], set_aside=SetAside(resolved_conflicts=1)),
        "conflict_resolved",
        "info",
        "1",
    ),
    "offsets without a record": (
        month(log=[partition(records=97, stored=95, rows=95)]),
        "log_gap",
        "info",
        "3",
    ),
    "events without a contract": (
        month(events=MonthEvents(98, 88, 2, ["bob"])),
        "unpriced",
        "warning",
        "2",
    ),
    "an invoice that was issued again": (
        month(
            invoices=[
                ours(
                    id="inv_0",
                    state="void",
                    billing_key="old",
                    stripe_invoice_id="in_0",
                    lines=[line(linked_items=0, linked_amount=Decimal(0))],
                    replaced=True,
                ),
                ours(),
            ],
            stripe=stripe(theirs(id="in_0", billing_key="old", status="void"), theirs()),
        ),
        "reissued",
        "info",
        "0",
    ),
    "a void invoice in whose place there is none": (
        month(invoices=[ours(state="void")], stripe=stripe(theirs(status="void"))),
        "void_not_reissued",
        "warning",
        "0",
    ),
    "an invoice voided before it was sent": (
        month(invoices=[ours(state="void", stripe_invoice_id=None)], stripe=stripe()),
        "void_never_sent",
        "info",
        "1",
    ),
    "events that were taken back": (
        month(events=MonthEvents(98, 87, 0, voided=3, voided_events=["a 1", "a 2", "a 3"])),
        "voided",
        "info",
        "3",
    ),
    "a fee that is not posted yet": (
        month(
            charges=[
                charge(),
                charge(
                    charge="fee",
                    event_quantity=Decimal(0),
                    item_quantity=Decimal(0),
                    expected=Decimal(19),
                    item_amount=Decimal(0),
                    posted=False,
                ),
            ]
        ),
        "not_posted_yet",
        "warning",
        "0",
    ),
    "a price of a model that is not known here": (
        month(charges=[charge(expected=None)]),
        "price_not_checked",
        "warning",
        "0",
    ),
    "usage that came after its month was closed": (
        month(
            posted=[
                posted(
                    used_items=5, used_amount=Decimal(3), later_items=2, later_amount=Decimal("1.2")
                )
            ]
        ),
        "posted_later",
        "info",
        "2",
    ),
    "usage of an earlier month": (
        month(
            posted=[
                posted(
                    used_items=2, used_amount=Decimal(1), late_items=1, late_amount=Decimal("0.8")
                )
            ]
        ),
        "late",
        "info",
        "-1",
    ),
    "an invoice over nothing": (
        month(
            invoices=[
                ours(),
                ours(
                    id="inv_2",
                    state="skipped_zero",
                    total_minor=0,
                    stripe_invoice_id=None,
                    billing_key="b",
                    lines=[],
                ),
            ]
        ),
        "skipped_zero",
        "info",
        "1",
    ),
    "an invoice carried forward, of a customer who has left": (
        month(
            invoices=[
                ours(),
                ours(
                    id="inv_2",
                    state="carried_forward",
                    total_minor=-20,
                    stripe_invoice_id=None,
                    billing_key="b",
                    lines=[
                        line(
                            amount_minor=-20,
                            exact_amount=Decimal("-0.2"),
                            linked_items=1,
                            linked_amount=Decimal("-0.2"),
                        )
                    ],
                    left_over=True,
                ),
            ],
            posted=[
                posted(used_items=4, used_amount=Decimal("1.6"), items=4, amount=Decimal("1.6"))
            ],
            charges=[charge(expected=Decimal("1.6"), item_amount=Decimal("1.6"))],
        ),
        "carried_without_contract",
        "warning",
        "1",
    ),
    "invoices that are not of Tallybook": (
        month(stripe=stripe(theirs(), foreign=["in_7", "in_8"])),
        "foreign",
        "info",
        "2",
    ),
    "invoices of another month": (
        month(stripe=stripe(theirs(), other_months=["in_7"])),
        "other_month",
        "info",
        "1",
    ),
    "invoices that wait to be sent": (
        month(
            run_state="planned",
            invoices=[ours(state="frozen", stripe_invoice_id=None)],
            stripe=stripe(),
        ),
        "not_sent",
        "warning",
        "1",
    ),
}
